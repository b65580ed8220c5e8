"""The categories of TACO (Trash Annotations in Context, Proença and Simões 2020), and what they are to us."""

CLASS_OF: dict[str, str] = {
    **dict.fromkeys(("Carded blister pack", "Cigarette", "Unlabeled litter", "Food waste", "Rope & strings", "Tissues"),
                    "General trash"),
    **dict.fromkeys(("Toilet tube", "Other carton", "Egg carton", "Corrugated carton", "Meal carton", "Pizza box",
                     "Magazine paper", "Wrapping paper", "Normal paper", "Paper bag", "Plastified paper bag",
                     "Paper straw"), "Paper"),
    **dict.fromkeys(("Drink carton", "Paper cup"), "Paper pack"),
    **dict.fromkeys(("Aluminium foil", "Aluminium blister pack", "Metal bottle cap", "Food Can", "Aerosol", "Drink can",
                     "Metal lid", "Pop tab", "Scrap metal"), "Metal"),
    **dict.fromkeys(("Glass bottle", "Broken glass", "Glass cup", "Glass jar"), "Glass"),
    **dict.fromkeys(("Other plastic bottle", "Clear plastic bottle", "Plastic bottle cap", "Disposable plastic cup",
                     "Other plastic cup", "Plastic lid", "Other plastic", "Spread tub", "Tupperware",
                     "Disposable food container", "Other plastic container", "Plastic utensils", "Squeezable tube",
                     "Plastic straw", "Six pack rings"), "Plastic"),
    **dict.fromkeys(("Foam cup", "Foam food container", "Styrofoam piece"), "Styrofoam"),
    **dict.fromkeys(("Plastic film", "Garbage bag", "Other plastic wrapper", "Single-use carrier bag",
                     "Polypropylene bag", "Crisp packet", "Plastic glooves", "Plastic gloves"), "Plastic bag"),
    "Battery": "Battery",
    "Shoe": "Clothing",
}  # fmt: skip
"""The competition's class of each of TACO's categories."""

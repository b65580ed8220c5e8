import pytest

from trainable.formats.class_list import ListError, Named, as_classes, find_class_list, read_class_list

SKY, ROAD = Named(0, "sky", (128, 128, 128)), Named(1, "road", (128, 64, 128))


@pytest.mark.parametrize(("content", "expected"), [
    ("sky\nroad\n", [Named(0, "sky"), Named(1, "road")]),
    ("\ufeffsky\r\n\r\nroad way", [Named(0, "sky"), Named(1, "road way")]),
    ("0,sky\n7,road", [Named(0, "sky"), Named(7, "road")]),
    ("0: sky\n7: road", [Named(0, "sky"), Named(7, "road")]),
    ("0 sky\n7 road", [Named(0, "sky"), Named(7, "road")]),
    ("0\tsky\n7\troad", [Named(0, "sky"), Named(7, "road")]),
    ("id,name,colour\n0,sky,#808080\n1,road,#804080", [SKY, ROAD]),
    ("0,sky,#808080\n1,road,#804080", [SKY, ROAD]),
    ("sky,#808080\nroad,#804080", [SKY, ROAD]),
    ("name,r,g,b\nsky,128,128,128\nroad, 128, 64, 128", [SKY, ROAD]),
    ("sky,128,128,128\nroad,128,64,128", [SKY, ROAD]),
    ("0,sky,128,128,128\n1,road,128,64,128", [SKY, ROAD]),
    ("128 128 128\tsky\n128 64 128 \troad", [SKY, ROAD]),
    ("# label:color_rgb:parts:actions\nsky:128,128,128::\nroad:128,64,128::\n", [SKY, ROAD]),
    ("__ignore__\n_background_\nleaf", [Named(-1, "__ignore__"), Named(0, "_background_"), Named(1, "leaf")]),
])  # fmt: skip
def test_every_way_to_list_classes_is_read(tmp_path, content, expected):
    path = tmp_path / "classes.txt"
    path.write_bytes(content.encode())
    assert read_class_list(path) == expected


@pytest.mark.parametrize(("content", "words"), [
    ("", "lists no class; a list of classes has one name a line, or lines id,name,#rrggbb"),
    ("0,sky\n0,road", "gives the value 0 to 2 classes; values must differ"),
    ("sky\nsky", "gives the name 'sky' to 2 classes"),
    ("0,sky,grey", "a colour is written #rrggbb, found 'grey'"),
    ("sky,1,2,300", "a colour is three numbers of 0 to 255, found '1,2,300'"),
    ("sky,road", "an id is a whole number of 0 to 65535, found 'sky'"),
    ("1,2,3,4,5,6,7", "line 1 has 7 cells"),
    ("id,name\n1", "line 2 has 1 cells, the first has 2"),
    ("id,name\n99999,sky", "an id is a whole number of 0 to 65535, found '99999'"),
])  # fmt: skip
def test_what_is_no_list_is_told_with_the_rule(tmp_path, content, words):
    path = tmp_path / "classes.txt"
    path.write_text(content)
    with pytest.raises(ListError, match=r"classes.txt") as raised:
        read_class_list(path)
    assert words in str(raised.value)


def test_list_in_another_encoding_is_told(tmp_path):
    (tmp_path / "classes.txt").write_bytes("하늘\n".encode("cp949"))
    with pytest.raises(ListError, match="not text in UTF-8"):
        read_class_list(tmp_path / "classes.txt")


def test_two_lists_are_refused(tmp_path):
    for name in ("classes.txt", "labelmap.txt"):
        (tmp_path / name).write_text("sky\n")
    with pytest.raises(ListError, match=r"classes.txt and labelmap.txt may both list the classes"):
        find_class_list(tmp_path)


@pytest.mark.parametrize(("names", "words"), [
    (["sky"], "there must be 2 to 200 classes, found 1: sky"),
    ([f"kind {index}" for index in range(201)], "201 classes are more than the 200 that can be trained"),
    (["a", "b\u0007"], "printable characters"),
])  # fmt: skip
def test_names_that_cannot_be_classes_are_told(names, words):
    with pytest.raises(ListError, match=words):
        as_classes([Named(value, name) for value, name in enumerate(names)], None)


def test_gaps_between_ids_are_none_between_classes():
    classes, table = as_classes([Named(9, "dirt"), Named(3, "Background"), Named(255, "ignore")], None)
    assert classes.names == ("Background", "dirt")
    assert classes.background
    assert dict(table.values) == {255: 255, 3: 0, 9: 1}


def test_colour_of_two_classes_is_nobodys():
    _, table = as_classes([Named(0, "a", (1, 1, 1)), Named(1, "b", (1, 1, 1)), Named(2, "c", (2, 2, 2))], None)
    assert table.colours == (((2, 2, 2), 2),)

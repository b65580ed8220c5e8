from trainable.data_errors import Problem
from trainable.data_facts.problem_kinds import by_kind


def test_texts_that_differ_by_names_and_numbers_are_of_one_kind():
    problems = [
        Problem("a/1.jpg", "photo a/1.jpg is 3x4, its mask 5x6; mend one of them"),
        Problem("b.jpg", "photo b.jpg cannot be decoded (cut off); replace it"),
        Problem("c d.jpg", "photo c d.jpg is 30x40, its mask 5x60; mend one of them"),
        Problem("c d.jpg", "photo c d.jpg is 30x40, its mask 5x60; mend one of them"),
    ]
    assert [len(texts) for texts in by_kind(problems)] == [2, 1] and by_kind([]) == []

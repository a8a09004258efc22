"""What nobody can unpack is named, and is no difference once the app that reads it is past it."""

from streaming.verification.topic_checks import check_unpacked

BATCH = (("purchases", 2), 1)


def test_a_batch_that_an_app_has_not_passed_is_a_difference() -> None:
    """The app stands before it, and so does everything behind it."""
    check = check_unpacked({BATCH: 21}, {("purchases", 2): 1})
    assert (check.compared, check.differing) == (1, 1)
    assert check.examples == [
        "20 records of purchases-2 from 1 on cannot be unpacked, and are not verified."
    ]


def test_a_batch_that_an_app_has_passed_is_none() -> None:
    """A person moved the position behind it, because nobody can read it."""
    check = check_unpacked({BATCH: 21}, {("purchases", 2): 21})
    assert (check.compared, check.differing) == (1, 0)

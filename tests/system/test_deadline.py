"""A wait ends when what it waits for has come, or at its deadline."""

from streaming.system.deadline import Deadline, wait_until


def test_a_deadline_counts_down_to_a_least_timeout() -> None:
    """A call always gets a timeout that is not negative, and the least that its caller names."""
    over = Deadline.after(-1)
    assert over.is_over()
    assert over.left() == 0
    assert over.left(least=0.5) == 0.5
    later = Deadline.after(60)
    assert not later.is_over()
    assert 0 < later.left() <= 60


def test_what_comes_ends_the_wait() -> None:
    """The condition is asked until it holds."""
    answers = [True, False, False]
    assert wait_until(answers.pop, Deadline.after(60), poll_seconds=0.001)
    assert not answers


def test_what_never_comes_is_given_up_at_the_deadline() -> None:
    """The condition is asked once before the wait, and once when the deadline is over."""
    answers = [False, False]
    assert not wait_until(lambda: answers.pop() if answers else False, Deadline.after(0.01))
    assert not answers
    assert not wait_until(lambda: False, Deadline.after(-1))

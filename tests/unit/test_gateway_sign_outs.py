"""The memory of who signed out: as long as a token could live, and bounded."""

from gateway.sign_outs import SignOuts

NOW = 1_800_000_000.0
KEPT = 3610.0


class World:
    def __init__(self, capacity: int = 100) -> None:
        self.now = NOW
        self.sign_outs = SignOuts(kept=KEPT, now=lambda: self.now, capacity=capacity)

    def refusals(self, *sessions: str) -> list[str | None]:
        return [self.sign_outs.refusal("user_1", session) for session in sessions]


def test_a_session_is_refused_and_its_user_is_not() -> None:
    world = World()
    world.sign_outs.end_session("sess_1", NOW)
    assert world.refusals("sess_1", "sess_2") == ["session_ended", None]


def test_a_user_is_refused_in_every_session() -> None:
    world = World()
    world.sign_outs.delete_user("user_1", NOW)
    assert world.refusals("sess_1", "sess_2") == ["user_deleted", "user_deleted"]
    assert world.sign_outs.refusal("user_2", "sess_1") is None


def test_a_sign_out_is_kept_until_its_last_token_has_run_out() -> None:
    world = World()
    world.sign_outs.end_session("sess_1", NOW)
    world.now += KEPT - 1
    world.sign_outs.end_session("sess_2", world.now)
    assert world.refusals("sess_1", "sess_2") == ["session_ended", "session_ended"]
    world.now += 61
    world.sign_outs.end_session("sess_3", world.now)
    assert world.refusals("sess_1", "sess_2", "sess_3") == [None, "session_ended", "session_ended"]


def test_a_sign_out_that_no_token_can_have_outlived_is_not_taken_in() -> None:
    world = World()
    world.sign_outs.end_session("sess_1", NOW - KEPT)
    assert world.refusals("sess_1") == [None]
    assert world.sign_outs.horizon == NOW - KEPT


def test_told_twice_the_later_end_counts() -> None:
    world = World()
    for at in (NOW, NOW - 1000):
        world.sign_outs.end_session("sess_1", at)
    world.now += KEPT - 1
    world.sign_outs.end_session("sess_2", world.now)
    assert world.refusals("sess_1") == ["session_ended"]


def test_the_memory_is_bounded_and_the_oldest_goes_first() -> None:
    world = World(capacity=3)
    for number in range(5):
        world.sign_outs.end_session(f"sess_{number}", NOW)
    assert world.refusals(*(f"sess_{number}" for number in range(5))) == [None, None, *["session_ended"] * 3]

"""What holds a row back, by hand."""

from pipeline.bench.limit import limit_of

WALL = {"decode": 2.0, "fuse": 20.0, "encode": 5.0}


def test_the_slowest_stage_alone_is_the_limit():
    limit = limit_of(24.0, WALL, {"decode": 4, "fuse": 20, "encode": 8}, 2)  # 32 ms on 2 cores: 16
    assert (limit.by, limit.least_ms) == ("fusing", 20)
    assert limit.reached == limit.of_slowest == 20 / 24
    assert str(limit) == "limited by fusing, 20.00 ms alone; a pair takes 24.00 ms: 83 % of what is possible"


def test_cores_that_are_all_busy_are_the_limit_where_their_work_takes_longer():
    limit = limit_of(30.0, WALL, {"decode": 4, "fuse": 40, "encode": 6}, 2)
    assert (limit.by, limit.least_ms) == ("all 2 cores", 25)
    assert (limit.reached, limit.of_slowest) == (25 / 30, 20 / 30)
    assert "25.00 ms of work for each (fusing alone 20.00 ms: 67 % of its speed); a pair takes 30.00 ms: 83 %" in str(
        limit
    )


def test_more_cores_move_the_limit_back_to_the_stage():
    assert limit_of(30.0, WALL, {"decode": 4, "fuse": 40, "encode": 6}, 4).by == "fusing"
    assert limit_of(30.0, WALL, {"decode": 4, "fuse": 40, "encode": 6}, 1).by == "the one core"


def test_the_share_of_what_all_stages_reach_side_by_side_is_told_where_it_was_measured():
    limit = limit_of(25.0, WALL, {"decode": 4, "fuse": 20, "encode": 8}, 2, 24.0)
    assert (limit.of_at_once, limit.reached) == (24 / 25, 20 / 25)
    assert str(limit).endswith("80 % of what is possible, 96 % of what all stages reach side by side")
    assert limit.to_json()["of_at_once"] == 0.96
    assert limit_of(25.0, WALL, WALL, 2).to_json()["of_at_once"] is None

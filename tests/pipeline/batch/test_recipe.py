"""The model of a batch: named once, so that no two machines fuse one video with two."""

import pytest

from engines.base import BackendError
from engines.model import DEFAULT, LIGHT
from pipeline.batch import recipe
from pipeline.batch.recipe import recipe_of, with_defaults
from pipeline.batch.task import Task


@pytest.fixture
def here(monkeypatch):
    """A function that says what `auto` is on this machine, an error or a name; and the backends it was asked for."""
    asked = []

    def say(outcome):
        def auto_model(backend, *, precision):
            asked.append((backend, precision))
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        monkeypatch.setattr(recipe, "auto_model", auto_model)
        return asked

    recipe._model_here.cache_clear()
    yield say
    recipe._model_here.cache_clear()


def task(**options):
    return Task("ir.mkv", "vis.mkv", "out.mkv", options=options)


@pytest.mark.parametrize("model", [DEFAULT, LIGHT])
@pytest.mark.parametrize("asked", [{}, {"model": "auto"}])
def test_auto_is_written_down_by_its_name(here, model, asked):
    backends = here(model)
    made = with_defaults(task(**asked), {"backend": "cpu"}, None, None)
    assert made.options["model"] == model
    assert recipe_of(made).model == model
    assert backends == [("cpu", "fp16")]


def test_it_is_found_out_once_for_all_tasks(here):
    asked = here(LIGHT)
    assert [with_defaults(task(), {}, None, None).options for _ in range(3)] == [{"model": LIGHT}] * 3
    assert asked == [("auto", "fp16")]


@pytest.mark.parametrize("options", [{"model": "jcae"}, {"method": "gff"}])
def test_what_is_asked_for_stays(here, options):
    asked = here(LIGHT)
    assert with_defaults(task(), options, None, None).options == options
    assert not asked


def test_a_task_has_a_model_of_its_own(here):
    here(LIGHT)
    assert with_defaults(task(model="jcae"), {"model": "densefuse"}, None, None).options == {"model": "jcae"}
    assert with_defaults(task(model="auto"), {"model": "densefuse"}, None, None).options == {"model": LIGHT}


def test_where_it_cannot_be_told_whoever_opens_it_says_why(here):
    here(BackendError("no driver"))
    assert with_defaults(task(), {}, None, None).options == {"model": "auto"}

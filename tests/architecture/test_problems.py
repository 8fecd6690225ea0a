"""Problems: what is raised is declared, and what cannot be final is never stored."""

import ast
import inspect

import pytest
from tests.support.api import ServedRoute
from tests.support.source import modules

import telemed.cli  # noqa: F401 - so that every problem is known
from telemed.kernel.http.openapi import all_problems
from telemed.kernel.problems import MethodNotAllowed, Problem
from telemed.kernel.service import Service

PROBLEMS = {kind.__name__: kind for kind in all_problems() if kind.__module__.startswith("telemed.")}
# The edge answers this before a route is found.
WITHOUT_A_ROUTE = {MethodNotAllowed.__name__}
# The answer to these may be another one when the same request is sent again.
PASSING_STATUSES = {401, 403, 408, 429}


def raised_in(package: str) -> dict[str, str]:
    """Find the problems that a package makes, by name, with one place each."""
    found: dict[str, str] = {}
    for module in modules():
        if not module.place.startswith(f"{package}/"):
            continue
        for node in ast.walk(module.tree):
            made = None
            if isinstance(node, ast.Raise) and node.exc is not None:
                made = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            elif isinstance(node, ast.Call):
                made = node.func  # also what is made here and raised elsewhere
            name = ast.unparse(made).rpartition(".")[2] if made is not None else ""
            if name in PROBLEMS:
                found[name] = f"{module.place}:{getattr(node, 'lineno', 0)}"
    return found


def declared_by(service: Service) -> set[str]:
    """Gather what the service's routes declare."""
    return {
        slug for router in service.routers for route in router.routes for slug in ServedRoute(service, route).declared
    }


def test_what_a_service_raises_is_declared_by_a_route_of_its_own(service: Service) -> None:
    """A client that reads the document meets no problem that it does not know."""
    declared = declared_by(service)
    raised = {PROBLEMS[name].slug(): place for name, place in raised_in(service.name).items()}
    raised |= {problem.slug(): f"constraint {name}" for name, problem in service.constraint_problems.items()}
    assert not {slug: place for slug, place in raised.items() if slug not in declared}


# Answered before there is a route that could declare them.
BELOW_ROUTES = {"method-not-allowed", "malformed-request", "request-headers-too-large"}


def test_what_contracts_raise_is_declared_somewhere() -> None:
    """The same for what services share."""
    from telemed.cli import DEPLOYABLES

    declared = set().union(*(declared_by(service) for service in DEPLOYABLES["all"]))
    shared = {**raised_in("contracts"), **raised_in("kernel")}
    assert not {name: place for name, place in shared.items() if PROBLEMS[name].slug() not in declared | BELOW_ROUTES}


def test_every_problem_is_raised_or_answers_for_a_constraint() -> None:
    """A problem that nobody raises is a promise that nobody keeps."""
    from telemed.cli import DEPLOYABLES

    used = set().union(
        *(raised_in(package) for package in ("kernel", "contracts", *(s.name for s in DEPLOYABLES["all"])))
    )
    used |= {problem.__name__ for service in DEPLOYABLES["all"] for problem in service.constraint_problems.values()}
    parents = {base.__name__ for kind in PROBLEMS.values() for base in inspect.getmro(kind)[1:]}
    assert set(PROBLEMS) - used - parents == set()


@pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS)
def test_a_problem_has_its_words(problem: type[Problem]) -> None:
    """A slug, a title of one sentence without line breaks, a status of an error."""
    assert problem.slug().replace("-", "").isalpha()
    assert 10 < len(problem.title()) < 100
    assert problem.title()[0].isupper()
    assert problem.__doc__ != Problem.__doc__
    assert 400 <= problem.status < 600


@pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS)
def test_a_problem_that_may_pass_is_not_final(problem: type[Problem]) -> None:
    """Stored under a key, it would be the answer for a day although the cause has long gone."""
    if problem.status in PASSING_STATUSES or problem.status >= 500:
        assert not problem.is_final


def test_slugs_are_unique() -> None:
    """Programs compare the slug."""
    slugs = [kind.slug() for kind in PROBLEMS.values()]
    assert len(slugs) == len(set(slugs))


def test_a_constraint_is_answered_by_one_problem(service: Service) -> None:
    """It can be made from the constraint's name alone."""
    for problem in service.constraint_problems.values():
        assert problem().document(instance="/", trace_id="")["status"] == problem.status

"""Changing one place of an object, named by a path such as `spec.ports[0].name` or `metadata.labels['a.b/c']`."""

import copy
import re
from collections.abc import Iterator
from typing import Any

from tests.charts.invariants.objects import Object, name_of

GONE = object()  # in place of a value: take it away
Key = str | int
_PART = re.compile(r"\[(\d+)\]|\['([^']+)'\]|\.?([^.\[\]]+)")


def keys_of(path: str) -> list[Key]:
    """Take a path apart."""
    return [int(number) if number else quoted or plain for number, quoted, plain in _PART.findall(path)]


def path_of(keys: list[Key]) -> str:
    """Put a path together."""
    return "".join(
        f"[{key}]" if isinstance(key, int) else f"['{key}']" if re.search(r"[./]", key) else f".{key}" for key in keys
    ).removeprefix(".")


def changed(objects: list[Object], target: Object, path: str, value: Any) -> list[Object]:
    """Give the objects with one place of one of them changed; the others are the same, the original is left alone."""
    if not path and value is GONE:
        return [thing for thing in objects if thing is not target]
    other = copy.deepcopy(target)
    place: Any = other  # whatever is at that place of an object
    *above, last = keys_of(path)
    for key in above:
        place = place.setdefault(key, {}) if isinstance(place, dict) else place[int(key)]
    if value is GONE:
        del place[last]
    elif isinstance(place, list) and last == len(place):
        place.append(copy.deepcopy(value))
    else:
        place[last] = copy.deepcopy(value)
    return [other if thing is target else thing for thing in objects]


def find(objects: list[Object], text: str) -> Object:
    """Find an object by `Kind/name`, or by `Kind/namespace/name` where that is needed."""
    kind, *names = text.split("/")
    found = [
        thing
        for thing in objects
        if thing["kind"] == kind
        and name_of(thing) == names[-1]
        and (len(names) == 1 or thing["metadata"].get("namespace") == names[0])
    ]
    if len(found) != 1:
        raise LookupError(f"{text} is there {len(found)} times")
    return found[0]


def leaves(thing: Any, keys: tuple[Key, ...] = ()) -> Iterator[tuple[list[Key], Any]]:  # Any: a part of an object
    """Give every value that has no parts, with the way to it; empty maps and lists are values as well."""
    parts = thing.items() if isinstance(thing, dict) else enumerate(thing) if isinstance(thing, list) else ()
    if not parts or not thing:
        yield list(keys), thing
        return
    for key, part in parts:
        yield from leaves(part, (*keys, key))

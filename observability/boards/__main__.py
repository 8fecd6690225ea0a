"""`python -m observability.boards build|draw`: write the boards for Grafana, or draw them from a Prometheus."""

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path

from observability.boards.catalogue import FOLDER, ROOT, boards
from observability.boards.grafana import board_text

PICTURES = Path(__file__).parent / "png"


def main(arguments: list[str]) -> int:
    """Do what the arguments say; return the exit code."""
    options = _parser().parse_args(arguments)
    return build(check=options.check) if options.command == "build" else draw(options)


def build(*, check: bool) -> int:
    """Write every board's file, or only say which are out of date, and remove what no board is called."""
    wanted = {FOLDER / f"{board.name}.json": board_text(board) for board in boards()}
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    stale += [path for path in sorted(FOLDER.glob("*.json")) if path not in wanted]
    for path in stale:
        if check:
            sys.stderr.write(f"{path.relative_to(ROOT)} is out of date; run: make dashboards\n")
        elif path in wanted:
            path.write_text(wanted[path])
            sys.stdout.write(f"wrote {path.relative_to(ROOT)}\n")
        else:
            path.unlink()
            sys.stdout.write(f"removed {path.relative_to(ROOT)}\n")
    return 1 if stale and check else 0


def draw(options: argparse.Namespace) -> int:
    """Draw boards from a running Prometheus, and say where each picture is."""
    # Only drawing needs matplotlib, and it takes a second to import.
    from observability.boards.drawing.page import draw_board
    from observability.boards.drawing.prometheus import Prometheus, Unreachable

    options.output.mkdir(parents=True, exist_ok=True)
    try:
        prometheus = Prometheus.at(options.prometheus, minutes=options.minutes, until=options.until)
        for name in options.boards or [board.name for board in boards()]:
            picture = options.output / f"{name}.png"
            empty = draw_board(FOLDER / f"{name}.json", prometheus, picture, theme=options.theme, given=_given(options))
            without = f"; no data: {', '.join(empty)}" if empty else ""
            sys.stdout.write(f"drew {picture}{without}\n")
    except Unreachable as problem:
        sys.stderr.write(f"{problem}\n")
        return 1
    return 0


def _given(options: argparse.Namespace) -> dict[str, str]:
    return {name: value for name in ("namespace", "service") if (value := getattr(options, name)) is not None}


def _instant(text: str) -> datetime:
    """Read an instant; without a zone it is UTC."""
    instant = datetime.fromisoformat(text)
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m observability.boards")
    commands = parser.add_subparsers(dest="command", required=True)
    build_command = commands.add_parser("build", help="write charts/telemed-observability/dashboards")
    build_command.add_argument("--check", action="store_true", help="only say what is out of date")
    draw_command = commands.add_parser("draw", help="draw boards as PNG, from a Prometheus")
    draw_command.add_argument("boards", nargs="*", help="names; all if none is given")
    draw_command.add_argument("--prometheus", default="http://127.0.0.1:9090", help="its address")
    draw_command.add_argument("--minutes", type=float, default=60, help="how much of the past is drawn")
    draw_command.add_argument("--until", type=_instant, help="the end of that, such as 2026-11-26T22:40Z; else now")
    draw_command.add_argument("--output", type=Path, default=PICTURES, help="folder for the pictures")
    draw_command.add_argument("--namespace", help="the only one that Prometheus knows, if it is not given")
    draw_command.add_argument("--service", help="a regular expression; all if it is not given")
    draw_command.add_argument("--theme", choices=("dark", "light"), default="dark")
    return parser


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

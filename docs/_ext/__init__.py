"""What is made from the code: a page, a man page and bash completion for every command, the errors."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx


def write_pages(docs: Path) -> None:
    """Write the generated pages below `docs`; unchanged ones keep their time, so builds are short."""
    from .commands import commands
    from .errors import errors_page
    from .pages import command_page
    from .wire import wire_page

    found = commands()
    folder = docs / "reference" / "commands"
    folder.mkdir(exist_ok=True)
    wanted = {folder / f"{command.name}.md": command_page(command) for command in found}
    wanted[docs / "reference" / "errors.md"] = errors_page()
    wanted[docs / "reference" / "wire.md"] = wire_page()
    for old in set(folder.glob("*.md")) - set(wanted):
        old.unlink()
    for path, text in wanted.items():
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def setup(app: "Sphinx") -> dict[str, bool]:
    """Sphinx's entry: write the pages before it looks for sources, and list the man pages."""
    from .commands import commands

    write_pages(Path(app.srcdir))
    app.config["man_pages"] = [
        (f"reference/commands/{command.name}", command.name, command.summary, [], 1)
        for command in commands()
    ]
    return {"parallel_read_safe": True}

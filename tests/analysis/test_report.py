"""The page is looked at in a real browser, where there is one."""

import re
import shutil
from dataclasses import replace
from pathlib import Path
from time import sleep
from urllib.request import urlopen

import optuna
import pytest

from analysis.report import main
from analysis.reporting.sections import spaces_of, what_it_is
from analysis.results.board import leaderboard
from search.run_state.chain_record import Chain, write_chain
from tests.trainable.run_folder.test_chain_phases import PHASES
from tests.trainable.run_folder.test_records import STORED
from trainable.run_folder.ensemble_record import Stage
from trainable.run_folder.folders import RunFolder
from trainable.run_folder.search_record import SearchRecord
from trainable.run_folder.trial_record import RUNNING
from trainable.storage.atomic_write import write_json

FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
         "--disable-background-networking", "--disable-component-update", "--window-size=1280,900")  # fmt: skip


@pytest.fixture(scope="module")
def page(searched_once: RunFolder, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    run = RunFolder(folder / "small")
    shutil.copytree(searched_once.path, run.path)
    (run.path / "ensemble").mkdir()
    stages = (Stage("best trial", 0.25, 0.2, 0.3), Stage("ensemble of 3", 0.31, 0.26, 0.35))
    replace(STORED, stages=stages).write(run.path / "ensemble/ensemble.json")
    assert main(["--run", str(run.path), "--out", str(folder / "report.html"), "--photos", "3"]) == 0
    return folder / "report.html"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    webdriver = pytest.importorskip("selenium.webdriver")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("no chromium and chromedriver here (Debian: apt-get install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    started = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield started
    started.quit()


def show(browser, page, width, dark=False):
    """Open the page at a screen width, in pixels."""
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]},
    )
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500},
    )
    browser.get(page.as_uri())


def cells(browser, column):
    rows = browser.find_elements("css selector", "#leaderboard tbody tr")
    return [row.find_elements("css selector", "td")[column].text for row in rows]


@pytest.mark.slow
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, False), (390, True)])
def test_it_shows_without_an_error_at_any_width(browser, page, width, dark):
    show(browser, page, width, dark)
    assert browser.get_log("browser") == []
    by_css = browser.find_elements
    assert len(by_css("css selector", "#leaderboard tbody tr")) == 4
    for name in ("learning-curves", "run0-importances", "run0-slice-0", "run0-parallel", "classes"):
        drawn = browser.find_element("css selector", f"#{name} .main-svg")
        assert drawn.is_displayed()
        assert drawn.size["width"] > 200
    assert len(by_css("css selector", "#steps tbody tr")) == 2
    assert len(by_css("css selector", ".photo img")) == 18
    broken = (
        "return [...document.images].filter(image => { image.loading = 'eager'; return !image.naturalWidth }).length"
    )
    for _ in range(50):
        if not browser.execute_script(broken):
            break
        sleep(0.1)  # they are decoded when needed
    assert browser.execute_script(broken) == 0
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert (
        browser.execute_script(
            "return performance.getEntriesByType('resource').filter(each => !each.name.startsWith('data:')).length"
        )
        == 0
    )
    paper = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (int(re.findall(r"\d+", paper)[0]) < 60) == dark


@pytest.mark.slow
def test_tables_sort(browser, page):
    show(browser, page, 1280)
    ranks = cells(browser, 0)
    assert ranks == ["1", "2", "3", "4"]
    head = browser.find_elements("css selector", "#leaderboard th button")
    head[3].click()
    assert cells(browser, 0) == ranks[::-1]  # val_miou, upwards
    head[3].click()
    assert cells(browser, 0) == ranks


@pytest.mark.slow
def test_figures_can_be_hovered_and_zoomed(browser, page):
    show(browser, page, 1280)
    browser.execute_script("Plotly.Fx.hover('learning-curves', [{curveNumber: 0, pointNumber: 0}])")
    told = browser.find_element("css selector", "#learning-curves .hoverlayer").text
    assert "trial " in told
    assert "lr=" in told
    span = "return document.getElementById('learning-curves').layout.xaxis.range"
    before = browser.execute_script(span)
    area = browser.find_element("css selector", "#learning-curves .nsewdrag")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", area)
    actions = webdriver_actions(browser)
    actions.move_to_element_with_offset(area, -100, -60).click_and_hold().move_by_offset(150, 100).release().perform()
    for _ in range(50):
        after = browser.execute_script(span)
        if after != before:
            break
        sleep(0.1)  # the zoom is drawn over some frames
    assert before[0] < after[0] < after[1] < before[1]


def webdriver_actions(browser):
    from selenium.webdriver.common.action_chains import ActionChains

    return ActionChains(browser)


def test_it_needs_no_network_and_says_what_the_run_was(page):
    text = page.read_text()
    beside_plotly = re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)
    assert not re.search(r"""(src|href)=["']https?:""", beside_plotly)
    for told in (
        "python search/run.py --space losses",
        "0123456789abcdef",
        "all trials have ended",
        "From the best trial to the submission",
        "ensemble of 3",
        "the loss is nan | in epoch 1",
    ):
        assert told in text
    assert len(text) < 7e6


def test_a_run_still_going_on_with_too_few_trials_and_no_predictions(searched, tmp_path, capsys):
    for number in (1, 2, 3):
        searched.trial(number).write_status(RUNNING)
    for folder in searched.trials():
        folder.out_of_fold.unlink(missing_ok=True)
        folder.best_weights.unlink(missing_ok=True)
    searched.study.unlink()
    assert main(["--run", str(searched.path), "--out", str(tmp_path / "report.html")]) == 0
    assert "still going on, or interrupted: 2 of 5 trials" in capsys.readouterr().out
    text = (tmp_path / "report.html").read_text()
    for told in (
        "still going on",
        "study.journal is missing",
        "none of 4 trials has kept its predictions",
        'id="learning-curves"',
    ):
        assert told in text
    optuna.create_study(storage=storage(searched), study_name="new")
    assert main(["--run", str(searched.path), "--out", str(tmp_path / "report.html")]) == 0
    assert "so far there are 0" in (tmp_path / "report.html").read_text()


def storage(run):
    backend = optuna.storages.journal.JournalFileBackend(str(run.study))
    return optuna.storages.JournalStorage(backend)


def test_a_run_without_an_epoch_and_lost_data(searched, tmp_path, capsys):
    search = searched.search()
    search["plan"]["data"] = str(tmp_path / "gone")
    write_json(searched.path / "search.json", search)
    assert main(["--run", str(searched.path), "--out", str(tmp_path / "report.html")]) == 0
    assert "No pictures: " in (tmp_path / "report.html").read_text()
    shutil.rmtree(searched.path / "trials")
    assert main(["--run", str(searched.path), "--out", str(tmp_path / "report.html")]) == 0
    text = (tmp_path / "report.html").read_text()
    assert "No trial has ended an epoch yet" in text and len(text) < 1e5  # without a figure, no script to draw it


def test_several_runs_share_a_leaderboard_and_have_their_own_parameters(searched, tmp_path):
    shutil.copytree(searched.path, tmp_path / "again")
    out = tmp_path / "report.html"
    assert main(["--run", str(searched.path), str(tmp_path / "again"), "--out", str(out)]) == 0
    text = out.read_text()
    assert "small and again" in text
    for name in ("run0-importances", "run1-importances"):
        assert f'id="{name}"' in text


def test_damaged_files_are_named_on_the_page(searched, tmp_path, capsys):
    (searched.trial(0).path / "confusion.npz").write_bytes(b"PK")
    best = searched.best_trial().out_of_fold
    best.write_bytes(best.read_bytes()[:-9])
    (searched.path / "ensemble").mkdir()
    (searched.path / "ensemble/ensemble.json").write_text("{")
    assert main(["--run", str(searched.path), "--out", str(tmp_path / "report.html")]) == 0
    text = (tmp_path / "report.html").read_text()
    for told in ("could not be used and are left out: 1", "trial 0, confusion.npz", "ensemble.json is damaged"):
        assert told in text
    assert "trial 0, confusion.npz" in capsys.readouterr().out


def test_finalists_are_told_as_apart_as_they_are(confirmed, tmp_path):
    out = tmp_path / "report.html"
    assert main(["--run", str(confirmed.path), "--out", str(out), "--photos", "1"]) == 0
    section = re.search(r'<section id="folds".*?</section>', out.read_text(), re.S).group()
    verdict = leaderboard([confirmed.path]).verdict
    assert f"<strong>{verdict}</strong>" in section and " on 20 photos x 1 seed: " in verdict
    assert ("is the best" in section) != ("are indistinguishable" in section)
    assert section.count(">A</span>") == (1 if "is the best" in section else verdict.count(",") + 2)


def test_errors_are_clear(searched, tmp_path, capsys):
    for arguments, told in (
        (["--run", str(tmp_path)], "is no run folder"),
        (["--run", str(searched.path), "--photos", "0"], "--photos must be at least 1, found 0"),
        (["--run", str(searched.path), "--out", str(tmp_path / "no/where.html")], "there is no folder"),
    ):
        assert main(arguments) == 2
        assert told in capsys.readouterr().err


@pytest.mark.slow
def test_optuna_dashboard_opens_the_study(searched):
    dashboard = pytest.importorskip("optuna_dashboard")
    from threading import Thread
    from wsgiref.simple_server import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        def log_message(self, *arguments):
            pass

    server = make_server("127.0.0.1", 0, dashboard.wsgi(storage(searched)), handler_class=Quiet)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        with urlopen(f"http://127.0.0.1:{server.server_port}/api/studies", timeout=20) as answer:
            assert b'"small"' in answer.read()
    finally:
        server.shutdown()
        server.server_close()


def test_an_extended_run_tells_all_its_spaces():
    plan = {"space": "joint", "trials": 1, "base": {"epochs": 1}}
    extended = [{"space": space, "when": 1.0, "trials": 1, "again": []} for space in ("losses", "encoders")]
    assert spaces_of(SearchRecord.of({"plan": plan, "extended": extended})) == ["losses", "encoders", "joint"]
    assert spaces_of(SearchRecord.of({"plan": plan})) == ["joint"]


def test_the_phases_on_the_way_to_a_submission_are_told_with_the_longer_run(searched, tmp_path, capsys):
    write_chain(searched, Chain("submission", {"until": "8h"}, ["--space", "losses"], list(PHASES)))
    shutil.copytree(searched.path, tmp_path / "small-long", ignore=shutil.ignore_patterns("phases.json"))
    out = tmp_path / "report.html"
    assert main(["--run", str(searched.path), "--out", str(out), "--photos", "1"]) == 0
    text = out.read_text()
    for told in (
        f"analysis/report.py --run {tmp_path / 'small-long'}",
        "left out: there is no time",
        "<span>Expected mIoU</span><b>0.280</b>",
        "--space losses --to submission --name small --until 8h",
    ):
        assert told in text
    assert "the longer trainings and the ensemble are in runs of their own" in capsys.readouterr().out
    (searched.path / "phases.json").write_text("{")
    assert main(["--run", str(searched.path), "--out", str(out), "--photos", "1"]) == 0
    assert "phases.json is damaged" in out.read_text()


def test_what_a_run_was_is_told():
    base = {"epochs": 48, "image_size": 160, "fold": 1}
    given = SearchRecord.of({"plan": {"space": "given", "trials": 2, "base": base, "given": {"a:7": {}, "a:7~1": {}}}})
    assert what_it_is(given) == "The best configs of a, trained anew for 48 epochs at 160 px on fold 1"
    assert what_it_is(replace(given, given=(), space="none")) == "One config, without a search: 48 epochs at 160 px"
    assert what_it_is(replace(given, given=(), space="joint")) == "Hyperparameter search of the space joint"

"""The benchmarks run, agree, and report what they promise."""

import json
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner

from benchmarks.__main__ import main

PROMISED = {
    "shape",
    "ratio",
    "fast_edits_per_second",
    "reference_edits_per_second",
    "peak_share",
    "peak_memory_mb",
    "growth",
}


def test_a_sweep_is_raced_and_written(tmp_path: Path) -> None:
    out = tmp_path / "sweep.json"
    few = ["--rounds", "2", "--cases", "2", "--growth", "1,3", "--depths", ""]
    result = CliRunner().invoke(main, ["sweep", "--shape", "tiny-gpt2", *few, "--json", str(out)])
    assert result.exit_code == 0, result.output
    found = json.loads(out.read_text())
    assert found.keys() >= PROMISED
    assert found["ratio"] > 1
    assert set(found["growth"]["cases"]) == {"1", "3"}
    assert 0 < found["peak_share"] < 1
    agreement = found["agreement"]
    assert agreement["cases"] == 4
    assert agreement["least_cosine_of_update"] >= 0.99999
    assert agreement["largest_relative_difference_of_perplexity"] < 1e-3
    assert "ratio" in result.output


def test_a_sequence_is_raced_and_ends_as_the_reference_does(tmp_path: Path) -> None:
    out = tmp_path / "sequence.json"
    arguments = ["sequence", "--shape", "tiny-gpt2", "--edits", "3", "--json", str(out)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    found = json.loads(out.read_text())
    assert found["edits"] == 3
    assert found["ratio"] > 1
    assert found["largest_relative_difference_of_perplexity"] < 1e-3


def test_sources_of_c_are_compared_in_keys_and_in_edits(tmp_path: Path) -> None:
    out = tmp_path / "moments.json"
    real = ["--real", "resources/world/moments.json", "--tokens", "900"]
    few = ["--layers", "2", "--cases", "2", "--texts", "2", "--json", str(out)]
    result = CliRunner().invoke(main, ["moments", "--model", "tiny-gpt2", *real, *few])
    assert result.exit_code == 0, result.output
    found = json.loads(out.read_text())["layer 2"]
    assert found["cosine with real"].keys() == {
        "real, other texts",
        "own",
        "own, half as many tokens",
        "none",
    }
    for source in ("none", "real", "own"):
        for kind in ("hard", "normal"):
            outcome = found[f"edits, C {source}"][kind]
            assert outcome["cases"] == 2
            assert 0 <= outcome["efficacy"] <= 1
            assert outcome["ratio, median"] <= outcome["ratio, worst"]


def test_the_cost_of_grades_and_of_the_sample_is_timed() -> None:
    few = ["--edits", "2", "--rounds", "1", "--texts", "2"]
    result = CliRunner().invoke(main, ["grading", "--model", "tiny-gpt2", *few])
    assert result.exit_code == 0, result.output
    found = dict(line.rsplit(None, 1) for line in result.output.splitlines())
    assert float(found["perplexity s"]) > 0
    # About 1,024 tokens against two texts.
    assert float(found["sample, share"]) > 1
    assert "grades, share" in found


def test_products_are_timed_by_map_and_rows() -> None:
    few = ["--rows", "8,16", "--rounds", "3"]
    result = CliRunner().invoke(main, ["products", "--model", "tiny-llama", *few])
    assert result.exit_code == 0, result.output
    for place in ("down-projection 432 -> 160", "head 160 -> 2048"):
        for rows in (8, 16):
            assert f"{place}, {rows} rows float32 by default" in result.output
            assert f"{place}, {rows} rows bfloat16" in result.output
    assert result.output.count("GFLOP/s (") >= 8


def test_lean_starts_take_less_than_usual_ones(tmp_path: Path) -> None:
    out = tmp_path / "start.json"
    result = CliRunner().invoke(main, ["start", "--rounds", "1", "--json", str(out)])
    assert result.exit_code == 0, result.output
    found = json.loads(out.read_text())
    assert found["ratio"] < 0.9
    assert found["lean"]["CPU s"] / found["plain"]["CPU s"] == found["ratio"]
    assert found["lean"]["modules"] < found["plain"]["modules"] - 1000


def test_the_cost_of_c_is_timed_against_its_forward_passes() -> None:
    few = ["--tokens", "600", "--rounds", "2", "--layers", "1,2"]
    result = CliRunner().invoke(main, ["second-moment", "--model", "tiny-gpt2", *few])
    assert result.exit_code == 0, result.output
    found = dict(line.rsplit(maxsplit=1) for line in result.output.splitlines() if line.strip())
    assert found["tokens"] == "600"
    ratio = [float(found[f"C / forward {name}"]) for name in ("least", "median", "most")]
    assert 0 < ratio[0] <= ratio[1] <= ratio[2]
    for name in ("forward", "C"):
        assert float(found[f"{name}, seconds per 10,000 tokens median"]) > 0


def test_the_peak_of_a_shard_is_measured_in_a_process_of_its_own(tmp_path: Path) -> None:
    out = tmp_path / "memory.json"
    few = ["--model", "tiny-gpt2", "--layer", "2", "--cases", "1,2", "--steps", "1", "--texts", "2"]
    result = CliRunner().invoke(main, ["memory", *few, "--json", str(out)])
    assert result.exit_code == 0, result.output
    found = json.loads(out.read_text())["peak memory by cases, MB"]
    assert found.keys() == {"1", "2"}
    assert all(100 < peak < 5000 for peak in found.values())


def test_both_precisions_are_timed_on_the_same_facts(tmp_path: Path) -> None:
    out = tmp_path / "precisions.json"
    few = ["--rounds", "2", "--cases", "2", "--texts", "2", "--layer", "2", "--steps", "3"]
    # In a process of its own, since it sets up memory for the whole process.
    command = [sys.executable, "-m", "benchmarks", "precisions", "--model", "tiny-llama", *few]
    subprocess.run([*command, "--json", str(out)], check=True)
    found = json.loads(out.read_text())
    # Not the same numbers: the second precision was another one.
    assert 0 < found["largest relative difference of perplexity"] < 0.1
    for precision in ("float32", "bfloat16"):
        taken = found[precision]["s a fact"]
        assert 0 < taken["least"] <= taken["median"] <= taken["most"]
        assert found[precision]["v*, s a fact"]["median"] < taken["most"]
    full, half = (found[p]["s a fact"] for p in ("float32", "bfloat16"))
    assert (
        full["least"] / half["most"] <= found["speedup"]["median"] <= full["most"] / half["least"]
    )

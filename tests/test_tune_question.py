"""What `-o` asks of a study: lists, ranges, types, and what is refused before anything runs."""

from __future__ import annotations

import pytest
from command import blemish

from blemish.errors import UsageError
from blemish.tuning import ask
from blemish.tuning.question import Range


class TestValues:
    @pytest.mark.parametrize(
        ("text", "values"),
        [
            ("0.01,0.1,0.4", ["0.01", "0.1", "0.4"]),
            (" 1e-3 , .5", ["1e-3", ".5"]),
            ("0.1,1e-1,0.10,0.4", ["0.1", "0.4"]),
        ],
    )
    def test_are_kept_as_they_were_written_and_those_that_mean_the_same_once(self, text, values):
        assert ask([f"Train.learning_rate={text}"]).varied == {"Train.learning_rate": values}

    def test_with_commas_stand_in_quotes(self):
        question = ask(["Global.model=PatchCore", "Calibrate.group_by='a{1,2}'", "Train.keep=last,best"])
        assert list(question.varied) == ["Train.keep"]
        assert question.config({"Train.keep": "best"}).Calibrate.group_by == "a{1,2}"

    def test_reach_the_run_file_with_their_type(self):
        question = ask(["Train.epochs_iters=10,20", "Train.amp=OFF,O1"], model="STFPM")
        config = question.config({"Train.epochs_iters": "20", "Train.amp": "OFF"})
        assert (config.Train.epochs_iters, config.Train.amp, config.Train.batch_size) == (20, "OFF", 8)

    def test_a_grid_has_every_combination_and_its_last_key_runs_fastest(self):
        question = ask(["Train.learning_rate=0.1,0.4", "Train.epochs_iters=1,2"])
        assert [tuple(values.values()) for values in question.combinations()] == [
            ("0.1", "1"), ("0.1", "2"), ("0.4", "1"), ("0.4", "2"),
        ]  # fmt: skip
        assert question.trials == 4

    def test_each_detector_brings_its_own_run_file(self):
        question = ask(["Global.model=PatchCore,STFPM"])
        assert [question.config({"Global.model": name}).Train.batch_size for name in ("PatchCore", "STFPM")] == [1, 8]

    def test_a_range_beyond_a_decade_is_drawn_by_its_logarithm(self):
        ranges = ask(
            ["Train.learning_rate=1e-4..1e-1", "Train.epochs_iters=10..50"], sampler="tpe", trials=3
        ).varied.values()
        assert list(ranges) == [Range(1e-4, 1e-1), Range(10, 50)]
        assert [(found.log, found.whole) for found in ranges] == [(True, False), (False, True)]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("overrides", "options", "said"),
    [
        (["Train.learning_rat=0.1,0.4"], {}, "Did you mean `Train.learning_rate`?"),
        (["Train.learning_rate=0.1,fast"], {}, "Train.learning_rate is 'fast'"),
        (["Train.epochs_iters=20,0"], {}, "Train.epochs_iters is 0"),
        (["Model.noise_sharp=0,0.1"], {}, "Did you mean `Model.noise_share`?"),
        (["Train.learning_rate=0.1,,0.4"], {}, "no value beside a comma"),
        (["Train.learning_rate=0.1,"], {}, "no value beside a comma"),
        (["Train.learning_rate=0.1"], {}, "nothing to vary"),
        (["Train.learnin_rate=0.1"], {}, "Did you mean `Train.learning_rate`?"),
        ([], {}, "nothing to vary"),
        (["learning_rate=0.1,0.2"], {}, "Section.key=value"),
        (["Global.output=a,b"], {}, "tune sets this key itself"),
        (["Train.learning_rate=1,2", "Global.dataset_dir=x"], {}, "tune sets this key itself"),
        (["Model.bit_depth=12,16"], {}, "does not change what is learned"),
        (["Predict.batch_size=1,2"], {}, "does not change what is learned"),
        (["Train.learning_rate=0.1..0.4"], {}, "--sampler tpe"),
        (["Train.learning_rate=0.4..0.1"], {"sampler": "tpe", "trials": 2}, "from a smaller number to a larger"),
        (["Train.epochs_iters=1..9.5"], {"sampler": "tpe", "trials": 2}, "Train.epochs_iters is"),
        (["Model.width=64..256"], {"sampler": "tpe", "trials": 2}, "Model.width is 65"),
        (["Train.learning_rate=0.1,0.4"], {"sampler": "tpe"}, "--trials"),
        (["Train.learning_rate=0.1,0.4"], {"trials": 3}, "--trials is for"),
        (["Train.learning_rate=0.1,0.4"], {"sampler": "gird"}, "Did you mean `grid`?"),
        (["Train.epochs_iters=" + ",".join(map(str, range(1, 1002)))], {}, "too many for a grid"),
    ],
)
def test_what_is_refused(overrides, options, said):
    with pytest.raises(UsageError) as error:
        ask(overrides, **options)
    assert said in str(error.value)


def test_a_bad_key_ends_with_code_2_before_anything_is_written(tmp_path):
    done = blemish("tune", tmp_path, "-o", "Train.learning_rat=0.1,0.4", "--output", tmp_path / "out")
    assert done.code == 2 and "Train.learning_rate" in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()

import pytest

from lightning_sparse.pipeline.places import (
    Anywhere,
    Gpu,
    OnGpus,
    Place,
    chosen_gpus,
    parse_gpus,
    runs_that_fit,
)

LISTED = parse_gpus("GPU-aa, 80000, 79000\nGPU-ab, 80000, 79000\nGPU-b, 80000, 40000\n")


def gpu(free_mib):
    return Gpu(uuid="GPU-aa", total_mib=80_000, free_mib=free_mib)


def on(uuid):
    return Place((("CUDA_VISIBLE_DEVICES", uuid),))


class Machine:
    """GPUs of which a run takes the same memory whichever it is on."""

    def __init__(self, run_mib, uuids=("GPU-aa", "GPU-ab"), **options):
        self.run_mib, self.taken, self.said = run_mib, [], []
        self.places = OnGpus(
            uuids,
            setting="reproduce.num_processes",
            **{"num_processes": None, "num_cores": 16, **options},
            measure=self.measure,
            say=self.said.append,
        )

    def measure(self):
        return {
            uuid: Gpu(
                uuid=uuid,
                total_mib=80_000,
                free_mib=79_000 - self.run_mib * self.taken.count(on(uuid)),
            )
            for uuid in ("GPU-aa", "GPU-ab")
        }

    def fill(self):
        while place := self.places.next_free(self.taken):
            self.taken.append(place)
        return {uuid: self.taken.count(on(uuid)) for uuid in ("GPU-aa", "GPU-ab")}


def test_anywhere_is_so_many_processes():
    places = Anywhere(2)
    assert places.next_free([]) == places.next_free([Place()]) == Place()
    assert places.next_free([Place(), Place()]) is None


@pytest.mark.parametrize(
    ("devices", "visible", "chosen"),
    [
        (1, None, ["GPU-aa"]),
        (3, None, ["GPU-aa", "GPU-ab", "GPU-b"]),
        (-1, "2,0", ["GPU-b", "GPU-aa"]),
        (2, "2,0,1", ["GPU-b", "GPU-aa"]),
        ([1], "GPU-b,GPU-ab", ["GPU-ab"]),
        (4, None, []),
        ([3], None, []),
        (1, "GPU-a", []),  # of two, nobody knows which
        (1, "MIG-1", []),
        (1, "", []),
    ],
)
def test_the_gpus_are_those_that_the_user_and_the_machine_allow(devices, visible, chosen):
    assert chosen_gpus(LISTED, devices, visible) == chosen


def test_what_is_no_gpu_with_memory_is_not_counted():
    assert parse_gpus("GPU-a, [N/A], [N/A]\nNo devices were found\n\n") == {}


@pytest.mark.parametrize(
    ("free_during", "number"),
    [(78_000, 35), (60_000, 1), (43_000, 1), (1_000, 1)],
)
def test_a_run_may_take_twice_what_it_took_at_its_first_steps(free_during, number):
    assert runs_that_fit(gpu(79_000), gpu(free_during)) == number


def test_each_gpu_gets_one_run_until_the_first_is_measured():
    machine = Machine(run_mib=3_000)
    assert machine.fill() == {"GPU-aa": 1, "GPU-ab": 1}

    machine.places.has_begun(on("GPU-ab"))

    assert machine.fill() == {"GPU-aa": 8, "GPU-ab": 8}
    assert machine.said == [
        "a run takes 2.9 of 77.1 GiB at its first steps, so 11 fit on a GPU: 16 at a time on 2 "
        "GPUs and 16 cores (reproduce.num_processes=N for another number)"
    ]
    machine.places.has_begun(on("GPU-aa"))
    assert len(machine.said) == 1


@pytest.mark.parametrize("run_mib", [0, -10_500])
def test_where_others_give_memory_back_meanwhile_one_run_at_a_time_is_on_a_gpu(run_mib):
    machine = Machine(run_mib)
    machine.fill()

    machine.places.has_begun(on("GPU-aa"))

    assert machine.fill() == {"GPU-aa": 1, "GPU-ab": 1}
    assert machine.said == [
        "another program has given GPU memory back meanwhile, so what a run takes cannot be "
        "measured: one at a time on a GPU (reproduce.num_processes=N for another number)"
    ]


@pytest.mark.parametrize(
    ("run_mib", "options", "filled"),
    [
        (3_000, {"num_cores": 3}, {"GPU-aa": 2, "GPU-ab": 1}),
        (30_000, {}, {"GPU-aa": 1, "GPU-ab": 1}),
        (30_000, {"num_processes": 5}, {"GPU-aa": 3, "GPU-ab": 2}),
        (500, {"uuids": ("GPU-aa",)}, {"GPU-aa": 16, "GPU-ab": 0}),
    ],
)
def test_no_more_runs_than_cores_than_fit_or_than_were_asked_for(run_mib, options, filled):
    machine = Machine(run_mib, **options)
    machine.fill()
    machine.places.has_begun(machine.taken[0])
    assert machine.fill() == filled

"""What is not of the paper, and helps restyling: changes, a D on features, views, and matched effects."""

import copy
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from small_networks import SEEN, B, P, batch64, nets64

from grape_ops.cells.gene_effects import CellSums, shrunken_effects
from grape_ops.cells.store import CropStore
from grape_ops.config import (
    Config,
    LossSettings,
    OptimizerSettings,
    lay_over,
    parse_config,
)
from grape_ops.errors import GrapeOpsError, Interrupted
from grape_ops.nn.classifier import GeneEffects, build_classifier, centred_summaries, summaries
from grape_ops.nn.generator import fine_structure, flow_of, warped
from grape_ops.train import loop
from grape_ops.train.checkpoint import restore_nets
from grape_ops.train.estimate import multiply_adds
from grape_ops.train.loop import train
from grape_ops.train.losses import matching_loss
from grape_ops.train.optimizers import make_optimizers, set_rates
from grape_ops.train.preflight import memory_needed
from grape_ops.train.run_folder import Run, decisive_settings, open_run
from grape_ops.train.step import (
    discriminator_objective,
    matching_objective,
    restyle,
    shape_matching_objective,
    viewed,
)

TOGETHER = (3, 3, 3, 1, 1, 1)  # targets, several cells each


def looking(config: Config, *overrides: str) -> Config:
    tree = config.model_dump(mode="json")
    lay_over(tree, "train.init={kind: classifier, classifier: {width: 4, max_width: 8, steps: 3, batch_size: 8}}")
    lay_over(tree, "model.discriminator={judges: features, head_width: 4}")
    for override in ("train.loss={match: 0.5, r1: 0}", "train.together=4", "train.views={shift: 2, jitter: 0.1}"):
        lay_over(tree, override)
    for override in overrides:
        lay_over(tree, override)
    return parse_config(tree, "a test")


def test_a_change_begins_as_the_identity():
    batch = batch64(TOGETHER)
    for warp, long_axis, gain in (
        (0, False, False),
        (3, False, False),
        (0, False, True),
        (3, False, True),
        (3, True, True),
    ):
        settings = {"paints": "change", "warp": warp, "long_axis": long_axis, "gain": gain}
        nets = nets64(looks=True, generator=settings)
        torch.testing.assert_close(nets.generator(batch.images, nets.styles(batch.targets)), batch.images)
    assert not torch.allclose(nets64(looks=True).restyle(batch.images, batch.targets), batch.images)


def test_a_flow_moves_pixels_and_none_moves_nothing():
    images = torch.randn(2, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    flow = torch.zeros(2, 2, 16, 16)
    torch.testing.assert_close(warped(images, flow).double(), images, atol=1e-5, rtol=0)
    flow[:, 0] = 3  # every pixel comes from three to the right
    torch.testing.assert_close(warped(images, flow)[..., :-3].double(), images[..., 3:], atol=1e-4, rtol=0)


def test_a_flow_rests_at_the_rim_and_stretches_the_middle_as_a_whole():
    drawn = torch.zeros(1, 6, 32, 32)
    assert not flow_of(drawn).any()
    drawn[:, 2], drawn[:, 5] = 1.0, 1.0  # the identity as a linear map: pixels come from further out, the cell shrinks
    x, y = flow_of(drawn)[0]
    assert x[16, 20] > 0 > x[16, 11]
    assert y[20, 16] > 0 > y[11, 16]
    assert flow_of(drawn)[0, :, 0].abs().max() < 0.1 < flow_of(drawn).max()


def test_a_gain_of_one_doubles_light_and_detail_is_what_a_blur_takes():
    nets, batch = nets64(looks=True, generator={"paints": "change", "gain": True}), batch64(TOGETHER)
    with torch.no_grad():
        nets.generator.to_image.bias[2:4] = 1.0  # the gain of the light, of both channels
    torch.testing.assert_close(nets.restyle(batch.images, batch.targets), 2 * batch.images)
    with torch.no_grad():
        nets.generator.to_image.bias[2:4] = 0.0
        nets.generator.to_image.bias[4:6] = -1.0  # no detail is left
    blurred = nets.restyle(batch.images, batch.targets)
    assert fine_structure(torch.ones(1, 2, 8, 8)).abs().max() < 1e-6
    torch.testing.assert_close(blurred + fine_structure(batch.images), batch.images)
    with pytest.raises(ValueError, match="paints"):
        nets64(looks=True, generator={"gain": True})


def test_views_shift_and_scale_real_and_restyled_cells_alike():
    images = torch.arange(2 * 2 * 4 * 4, dtype=torch.float64).view(2, 2, 4, 4).requires_grad_()
    views = torch.zeros(2, 6, dtype=torch.float64)
    torch.testing.assert_close(viewed(images, views), images)
    assert viewed(images, None) is images
    views[0, :2] = torch.tensor([1, -2])
    views[1, 2:] = torch.tensor([0.5, 0, 0, 3])  # gain of the first channel, offset of the second
    seen = viewed(images, views)
    assert torch.equal(seen[0, 0, :3, 2:], images[0, 0, 1:, :2])
    assert torch.equal(seen[0, 0, 3], seen[0, 0, 2])  # the edge is repeated
    torch.testing.assert_close(seen[1], torch.stack([1.5 * images[1, 0], images[1, 1] + 3]))
    seen.sum().backward()
    assert images.grad is not None and images.grad.sum() == 16 + 16 + 1.5 * 16 + 16


def test_folded_maps_are_those_of_the_network():
    rng = torch.Generator().manual_seed(0)
    network = build_classifier(SEEN, P, 2, 32, rng).double()
    images = torch.randn(8, 2, 32, 32, dtype=torch.float64, generator=rng)
    for _ in range(3):
        network(images)  # batch norms see something
    network.eval()
    maps = network.maps(images)
    torch.testing.assert_close(maps[-1].mean(dim=(2, 3)), network.trunk(images))
    assert [part.shape[1] for part in maps] == network.map_widths
    assert [part.shape[2] for part in maps] == network.map_sides(32)
    read = [value for part in maps for value in torch.std_mean(part, dim=(2, 3), correction=0)]
    torch.testing.assert_close(summaries(maps), torch.cat(read, 1), atol=1e-4, rtol=1e-4)


def test_summaries_of_the_middle_do_not_see_the_rim():
    flat = torch.ones(1, 3, 16, 16, dtype=torch.float64)
    rim, middle = flat.clone(), flat.clone()
    rim[..., :2], middle[..., 7:9, 7:9] = 5.0, 5.0
    plain, at_rim, in_middle = (centred_summaries([part]) for part in (flat, rim, middle))
    torch.testing.assert_close(plain[:, [3, 9]], torch.ones(1, 2, dtype=torch.float64))  # means: whole crop, middle
    assert (at_rim - plain)[0, 9] < 0.25 * (at_rim - plain)[0, 3]
    assert (in_middle - plain)[0, 9] > 2 * (in_middle - plain)[0, 3]


def test_matching_is_nothing_where_means_agree_and_the_squared_gap_where_they_do_not():
    rng = torch.Generator().manual_seed(0)
    targets = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1, 2])
    assert matching_loss(torch.zeros(9, 4), targets) == 0
    gap = torch.zeros(9, 4)
    gap[:4, 0], gap[4:8, 1], gap[8] = 2.0, 1.0, 100.0  # the last one stands alone
    assert matching_loss(gap, targets).item() == pytest.approx((4 + 1) / 2)
    scatter = [matching_loss(3 * torch.randn(9, 4, generator=rng), targets).item() for _ in range(4000)]
    assert np.mean(scatter) == pytest.approx(0, abs=4 * np.std(scatter) / 4000**0.5)


def test_gaps_are_what_a_change_lacks():
    effects = GeneEffects(3, 2)
    effects.initialize(2 * torch.eye(2), torch.tensor([[3.0, 0.0], [0.0, 4.0], [0.0, 0.0]]))
    labels, wanted = torch.tensor([2, 0]), torch.tensor([0, 1])
    done = torch.tensor([[1.5, 0.0], [-1.5, 2.0]])
    assert effects.gaps(done, labels, wanted).abs().max() == 0
    size = (25 / 3) ** 0.5
    undone = effects.gaps(torch.zeros(2, 2), labels, wanted)
    torch.testing.assert_close(undone, torch.tensor([[-3.0, 0.0], [3.0, -4.0]]) / size)


def test_effects_are_the_planted_ones_and_chance_has_none():
    rng = np.random.default_rng(0)
    genes, cells, features = 8, 200, 12
    planted = np.zeros((genes + 1, features))
    planted[:genes, :3] = rng.normal(0, 2, (genes, 3))
    labels = np.repeat(np.arange(genes + 1), cells)
    for size, told in ((planted, True), (0 * planted, False)):
        values = rng.normal(size=(len(labels), features)) + size[labels]
        values[:, 7] = 1.0  # a feature that never varies
        sums = CellSums.zeros(genes + 1, 2, features)
        sums.add(values, labels, np.arange(len(labels)) % 2)
        whitening, effects = shrunken_effects(sums)
        assert not whitening[7].any()
        wanted = (size - size[:-1].mean(axis=0)) @ whitening
        if told:
            assert np.linalg.norm(effects - wanted) < 0.2 * np.linalg.norm(wanted)
        else:
            assert np.linalg.norm(effects) < 0.2 * genes**0.5  # in standard deviations of chance


def test_what_all_genes_share_against_the_controls_is_an_effect_though_no_gene_differs_along_it():
    rng = np.random.default_rng(1)
    genes, cells, features = 8, 400, 12
    labels = np.repeat(np.arange(genes + 1), cells)
    for stress in (0.0, 1.5):
        shared = np.zeros((genes + 1, features))
        shared[:genes, 5] = stress
        own = np.zeros_like(shared)
        own[:genes, :3] = rng.normal(0, 2, (genes, 3))
        sums = CellSums.zeros(genes + 1, 2, features)
        sums.add(rng.normal(size=(len(labels), features)) + (own + shared)[labels], labels, np.arange(len(labels)) % 2)
        whitening, effects = shrunken_effects(sums)
        asked = (effects[:-1].mean(axis=0) - effects[-1]) @ np.linalg.pinv(whitening)
        wanted = (own + shared)[:-1].mean(axis=0)
        assert abs(asked[5] - stress) < 0.2
        assert np.linalg.norm(asked - wanted) < 0.3


def test_d_on_features_learns_its_heads_and_g_learns_through_the_classifier():
    nets, batch = nets64(looks=True, generator={"paints": "change"}), batch64(TOGETHER)
    before = copy.deepcopy(nets.classifier.state_dict())
    restyled = restyle(nets, batch)
    loss, _ = discriminator_objective(nets, batch, restyled, LossSettings(r1=0))
    loss.backward()
    reached = {name.split(".")[0] for name, p in nets.named_parameters() if p.grad is not None and p.grad.any()}
    assert reached == {"discriminator"}
    assert nets.logits(batch.images, batch.labels).shape == (B, len(nets.discriminator.parts))
    nets.zero_grad()
    nets.effects.initialize(torch.eye(nets.effects.whitening.shape[0]), torch.randn_like(nets.effects.targets))
    loss, _ = matching_objective(nets, batch, restyle(nets, batch), LossSettings(match=1))
    loss.backward()
    reached = {name.split(".")[0] for name, p in nets.named_parameters() if p.grad is not None and p.grad.any()}
    assert reached == {"generator"}  # M and F follow as soon as the change is no longer 0
    assert all(torch.equal(value, before[name]) for name, value in nets.classifier.state_dict().items())


def test_shape_matching_teaches_the_generator_alone_and_is_nothing_where_nothing_is_asked():
    settings = {"paints": "change", "warp": 3.0, "long_axis": True}
    nets, batch = nets64(looks=True, shapes=True, generator=settings), batch64((3, 3, 3, 1, 1, 1))
    effects = nets.shape_effects
    effects.initialize(torch.eye(effects.whitening.shape[0]), torch.zeros_like(effects.targets))
    loss, terms = shape_matching_objective(nets, batch, restyle(nets, batch), LossSettings(match_shape=2))
    assert loss.item() == pytest.approx(0, abs=1e-12)  # a change begins as the identity
    targets = torch.randn(
        effects.targets.shape, dtype=effects.targets.dtype, generator=torch.Generator().manual_seed(0)
    )
    effects.initialize(effects.whitening, targets)
    loss, terms = shape_matching_objective(nets, batch, restyle(nets, batch), LossSettings(match_shape=2))
    assert loss.item() == pytest.approx(2 * terms["match_shape"].item())
    loss.backward()
    reached = {name.split(".")[0] for name, p in nets.named_parameters() if p.grad is not None and p.grad.any()}
    assert reached == {"generator"}
    assert nets.generator.to_flow.weight.grad[6:].any()  # the stretch along the long axis learns


def test_a_stretch_along_the_long_axis_needs_a_movement():
    with pytest.raises(ValueError, match=r"model\.generator\.warp"):
        nets64(looks=True, generator={"paints": "change", "long_axis": True})


def stopped_and_resumed(store: CropStore, config: Config, out: Path, step: int, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Stop a run as Ctrl-C does, after a number of steps, and go on with it."""

    def stop_then(stop: object, state_step: int) -> bool:
        stop.number = signal.SIGINT if state_step == step else 0
        return state_step == step

    with monkeypatch.context() as patched:
        patched.setattr(loop, "stop_everywhere", lambda fabric, stop, state_step, every: stop_then(stop, state_step))
        with pytest.raises(Interrupted):
            train(store.path, out, config)
    return train(store.path, out, config, resume=True)


def test_rates_fall_evenly_to_the_end_and_the_end_is_then_settled(tiny_store, tiny_config, tmp_path):
    settings = OptimizerSettings(learning_rate=1.0, embedding_learning_rate=0.5, falling=0.25)
    optimizers = make_optimizers(nets64(looks=True), settings)
    rates = []
    for step in (0, 14, 15, 16, 18, 19):
        set_rates(optimizers, settings, step, 20)
        of_m, of_others = (group["lr"] for group in optimizers["generator"].param_groups)
        assert of_m == of_others / 2
        rates.append(of_others)
    assert rates == pytest.approx([1, 1, 1, 0.8, 0.4, 0.2])
    config = looking(tiny_config, "train.optimizer.falling=0.5")
    train(tiny_store.path, tmp_path / "run", config)
    with pytest.raises(GrapeOpsError, match=r"train\.steps"):
        train(tiny_store.path, tmp_path / "run", looking(config, "train.steps=9"), resume=True)


def test_a_run_that_looks_through_a_classifier_goes_on_bit_for_bit(tiny_store, tiny_config, tmp_path, monkeypatch):
    changes = ("paints=change", "gain=true", "warp=2", "long_axis=true", "upsampling=bilinear")
    model = [f"model.generator.{change}" for change in changes]
    config = looking(tiny_config, *model, "train.loss.match_shape=0.5", "train.optimizer.falling=0.5")
    whole = train(tiny_store.path, tmp_path / "whole", config)
    parts = stopped_and_resumed(tiny_store, config, tmp_path / "parts", 4, monkeypatch)
    for name in ("nets.safetensors", "average.safetensors", "optimizers.safetensors"):
        ours, theirs = (run.latest_checkpoint() / name for run in (whole, parts))
        assert ours.read_bytes() == theirs.read_bytes()
    nets = whole.build()
    restore_nets(whole.latest_checkpoint(), nets, averaged=True)
    assert nets.effects.targets.any()
    assert nets.shape_effects.whitening.any()
    assert '"match_shape":' in (whole.path / "metrics.jsonl").read_text()


def test_from_noise_a_classifier_is_trained_and_that_is_said(tiny_store, tiny_config, tmp_path, capsys):
    config = looking(tiny_config, "train.init.kind=noise")
    run = train(tiny_store.path, tmp_path / "run", config)
    assert "a classifier is trained first" in capsys.readouterr().err
    assert not (run.path / "init.h5ad").exists()
    nets = run.build()
    noise = nets.embedding().clone()
    restore_nets(run.latest_checkpoint(), nets, averaged=False)
    assert (nets.embedding() - noise).abs().max() < 0.1  # it began where noise had put it


def test_a_checkpoint_of_the_other_kind_of_d_is_refused(tiny_store, tiny_config, tmp_path):
    run = train(tiny_store.path, tmp_path / "run", looking(tiny_config))
    other = (run.path / "config.yaml").read_text().replace("judges: features", "judges: pixels")
    (run.path / "config.yaml").write_text(other)
    changed = open_run(run.path)
    with pytest.raises(GrapeOpsError, match="other networks than the run's configuration describes"):
        restore_nets(changed.latest_checkpoint(), changed.build(), averaged=False)


def test_matching_wants_cells_together(tiny_config):
    for loss in ("{match: 1, match_shape: 0}", "{match: 0, match_shape: 1}"):
        with pytest.raises(GrapeOpsError, match=r"train\.together"):
            looking(tiny_config, f"train.loss={loss}", "train.together=1")
    with pytest.raises(GrapeOpsError, match=r"to 8 or more"):
        looking(tiny_config, "train.devices=4")


def test_a_classifier_that_is_looked_through_is_part_of_what_a_run_learns(tiny_config):
    one, other = (looking(tiny_config, "train.init.kind=noise", f"train.init.classifier.steps={n}") for n in (3, 4))
    assert decisive_settings(one) != decisive_settings(other)
    plain = [
        parse_config(c.model_dump() | {"model": {}, "train": {"init": c.train.init.model_dump()}}, "a test")
        for c in (one, other)
    ]
    assert decisive_settings(plain[0]) == decisive_settings(plain[1])


def test_what_decides_which_cells_are_matched_may_not_change_when_a_run_goes_on(tiny_store, tiny_config, tmp_path):
    config = looking(tiny_config)
    assert config.train.loss.match > 0
    run = train(tiny_store.path, tmp_path / "run", config)
    parts = looking(tiny_config, "train.accumulate=2")
    with pytest.raises(GrapeOpsError, match=r"train\.accumulate: was 1, is 2\n.*which they are"):
        train(tiny_store.path, run.path, parts, resume=True)
    spread = (looking(tiny_config, f"train.devices={d}", f"train.nodes={n}") for d, n in ((1, 1), (2, 1), (1, 2)))
    one, devices, nodes = map(decisive_settings, spread)
    assert one != devices == nodes
    free = tiny_config.train.model_copy(update={"accumulate": 2, "devices": 2})
    assert decisive_settings(tiny_config.model_copy(update={"train": free})) == decisive_settings(tiny_config)


def test_the_classifier_is_counted(tiny_store, tiny_config):
    plain, looks = tiny_config, looking(tiny_config)
    work = multiply_adds(looks, 4, 2, 32)
    assert work["classifier"] > 0
    assert work["discriminator"] < multiply_adds(plain, 4, 2, 32)["discriminator"]
    need = memory_needed(tiny_store, looks)
    assert need.activations > memory_needed(tiny_store, tiny_config).activations

"""The truth the head is held against: one process, all centers, the whole batch, one-hot matrices, dense NumPy.

Nothing is shared with the library, and nothing is clever. ``dtype`` is float64; float32 shows what rounding alone does.
"""

from typing import NamedTuple

import numpy as np


class Margin(NamedTuple):
    s: float = 64.0
    m1: float = 1.0
    m2: float = 0.0
    m3: float = 0.0


class AdaFace(NamedTuple):
    """With the running mean and standard deviation of the lengths before the step."""

    s: float = 64.0
    m: float = 0.4
    h: float = 0.333
    t_alpha: float = 0.01
    mean: float = 20.0
    std: float = 100.0


class Filtering(NamedTuple):
    """Other classes whose cosine is above the threshold: without a logit, or with the constant 0 (``zero``)."""

    threshold: float
    zero: bool = False


class Step(NamedTuple):
    """What one step computes: loss (), gradients (B, D) and (N, D), updated centers and momentum (N, D)."""

    loss: np.ndarray
    grad_embeddings: np.ndarray
    grad_weight: np.ndarray
    weight: np.ndarray
    weight_mom: np.ndarray


def adaface_statistics(norms, margin):
    """Running mean and standard deviation after a batch of embeddings of these lengths (B,)."""
    norms, new = np.clip(norms, 1e-3, 100), margin.t_alpha
    return new * norms.mean() + (1 - new) * margin.mean, (new and new * norms.std(ddof=1)) + (1 - new) * margin.std


def adaface_target(cos, margin, norms, dtype=np.float64):
    """As `margin_target`."""
    mean, std = adaface_statistics(norms, margin)
    z = np.clip((np.clip(norms, 1e-3, 100) - dtype(mean)) / (dtype(std) + dtype(1e-3)) * dtype(margin.h), -1, 1)
    cos = np.clip(cos, -1, 1)
    angle = np.arccos(cos) - dtype(margin.m) * z
    sine = np.maximum(np.sqrt((1 - cos) * (1 + cos)), dtype(5e-4))
    inside = (angle > 0) & (angle < np.pi)
    value = np.cos(np.clip(angle, 0, np.pi)) - dtype(margin.m) * (z + 1)
    return value, np.where(inside, np.sin(angle) / sine, dtype(0))


def margin_target(cos, margin, norms, dtype=np.float64):
    """Cosine with the margin (before s) and its derivative; cosines (B,), lengths of the embeddings (B,)."""
    if isinstance(margin, AdaFace):
        return adaface_target(cos, margin, norms, dtype)
    if margin.m1 == 1 and margin.m2 == 0:
        return cos - dtype(margin.m3), np.ones_like(cos)
    cos = np.clip(cos, -1, 1)
    theta = np.arccos(cos)
    angle = dtype(margin.m1) * theta + dtype(margin.m2)
    sine = np.maximum(np.sqrt((1 - cos) * (1 + cos)), dtype(5e-4))
    value, slope = np.cos(angle), dtype(margin.m1) * np.sin(angle) / sine
    if margin.m1 == 1:
        past = angle > np.pi
        value = np.where(past, cos - dtype(margin.m2 * np.sin(margin.m2)), value)
        slope = np.where(past, dtype(1), slope)
    return value - dtype(margin.m3), slope


def sampling_corrections(labels, chosen, num_classes, world_size):
    """What is added to the logits of the chosen classes (ascending ids), rank by rank: log(1 / q), 0 for positives."""
    result = np.zeros(len(chosen))
    for rank in range(world_size):
        own = range(rank * num_classes // world_size, (rank + 1) * num_classes // world_size)
        positives = set(labels) & set(own)
        sampled = [index for index, each in enumerate(chosen) if each in own and each not in positives]
        if sampled:
            result[sampled] = np.log((len(own) - len(positives)) / len(sampled))
    return result


def filtered_entries(cos, one_hot, filtering):
    """Which of the cosines (B, C) are filtered."""
    return (cos > filtering.threshold) & (one_hot == 0) if filtering else np.zeros(cos.shape, bool)


def step(
    embeddings,
    labels,
    weight,
    weight_mom,
    chosen,
    margin,
    lr,
    momentum=0.9,
    wd=5e-4,
    dtype=np.float64,
    norms=None,
    filtering=None,
    corrections=0.0,
):
    """One step of the head over the classes ``chosen`` (ascending ids), whose logits have ``corrections`` (C,) added.

    ``norms`` (B,) are the lengths that the margin sees, constants in both gradients: those of the embeddings if None.
    """
    embeddings, weight, weight_mom = (np.asarray(x, dtype) for x in (embeddings, weight, weight_mom))
    batch_size, s = len(embeddings), dtype(margin.s)
    norm_e = np.sqrt((embeddings**2).sum(1, keepdims=True))
    norm_w = np.sqrt((weight[chosen] ** 2).sum(1, keepdims=True))
    unit_e, unit_w = embeddings / norm_e, weight[chosen] / norm_w
    cos = unit_e @ unit_w.T  # (B, C)
    one_hot = (np.asarray(labels)[:, None] == np.asarray(chosen)[None, :]).astype(dtype)
    assert (one_hot.sum(1) == 1).all(), "every label must be among the chosen classes"
    value, slope = margin_target((cos * one_hot).sum(1), margin, norm_e[:, 0] if norms is None else norms, dtype)
    logits = s * (cos * (1 - one_hot) + value[:, None] * one_hot)
    filtered = filtered_entries(cos, one_hot, filtering)
    logits = np.where(filtered, dtype(0 if filtering and filtering.zero else -np.inf), logits) + corrections
    largest = logits.max(1, keepdims=True)
    exp = np.exp(logits - largest)
    log_softmax = logits - largest - np.log(exp.sum(1, keepdims=True))
    loss = -log_softmax[one_hot == 1].sum() / batch_size
    grad_cos = s / batch_size * (np.exp(log_softmax) - one_hot) * (1 - one_hot + slope[:, None] * one_hot)
    grad_cos[filtered] = 0
    grad_unit_e, grad_unit_w = grad_cos @ unit_w, grad_cos.T @ unit_e
    grad_e = (grad_unit_e - (grad_unit_e * unit_e).sum(1, keepdims=True) * unit_e) / norm_e
    grad_w = np.zeros_like(weight)
    grad_w[chosen] = (grad_unit_w - (grad_unit_w * unit_w).sum(1, keepdims=True) * unit_w) / norm_w
    new_weight, new_mom = weight.copy(), weight_mom.copy()
    new_mom[chosen] = dtype(momentum) * weight_mom[chosen] - dtype(lr) * (grad_w[chosen] + dtype(wd) * weight[chosen])
    new_weight[chosen] += new_mom[chosen]
    return Step(loss, grad_e, grad_w, new_weight, new_mom)


def sub_center_step(embeddings, labels, weight, weight_mom, chosen, margin, lr, count, dtype=np.float64, **more):
    """As `step` with ``count`` centers per class, (N, count, D): the closest center of a class stands for it.

    Plain loops: for each sample, a matrix of the closest centers is a problem of one center per class; its gradients
    go to the centers that were closest.
    """
    weight, weight_mom = (np.asarray(each, dtype) for each in (weight, weight_mom))
    batch_size, (num_classes, _, size) = len(embeddings), weight.shape
    unit = weight / np.linalg.norm(weight, axis=2, keepdims=True)
    loss, grad_e, grad_w = 0, np.zeros((batch_size, size), dtype), np.zeros_like(weight)
    all_norms = np.linalg.norm(np.asarray(embeddings, dtype), axis=1)
    mean, std = adaface_statistics(all_norms, margin) if isinstance(margin, AdaFace) else (None, None)
    for i in range(batch_size):
        closest = (unit @ np.asarray(embeddings[i], dtype)).argmax(axis=1)  # (N,)
        own, rows = weight[np.arange(num_classes), closest], np.arange(num_classes)
        fixed = margin._replace(t_alpha=0.0, mean=mean, std=std) if mean is not None else margin
        one = step(embeddings[i : i + 1], labels[i : i + 1], own, 0 * own, chosen, fixed, lr, dtype=dtype, **more)
        loss, grad_e[i] = loss + one.loss / batch_size, one.grad_embeddings[0] / batch_size
        grad_w[rows, closest] += one.grad_weight / batch_size
    new_weight, new_mom = weight.copy(), weight_mom.copy()
    new_mom[chosen] = dtype(0.9) * weight_mom[chosen] - dtype(lr) * (grad_w[chosen] + dtype(5e-4) * weight[chosen])
    new_weight[chosen] += new_mom[chosen]
    return Step(loss, grad_e, *(each.reshape(num_classes, -1) for each in (grad_w, new_weight, new_mom)))


def adamw(weight, mean, var, grad, lr, wd, t):
    """Weight and both moments after update ``t`` (from 1): AdamW of Loshchilov and Hutter, its formulas one by one."""
    mean, var = 0.9 * mean + 0.1 * grad, 0.999 * var + 0.001 * grad**2
    step = (mean / (1 - 0.9**t)) / (np.sqrt(var / (1 - 0.999**t)) + 1e-8)
    return weight - lr * step - lr * wd * weight, mean, var


def lars(weight, velocity, grad, lr, wd, momentum):
    """Weight and velocity after an update: LARS of You et al., its formulas one by one; trust coefficient 0.001."""
    norms = np.sqrt((weight**2).sum()), np.sqrt((grad**2).sum())
    if weight.ndim > 1 and min(norms) > 0:
        lr = lr * 0.001 * norms[0] / (norms[1] + wd * norms[0])
    velocity = momentum * velocity - lr * (grad + wd * weight)
    return weight + velocity, velocity


def relative_error(value, truth):
    """|value - truth| / |truth|, the norm over all entries; |value| if the truth is 0."""
    difference = np.asarray(value, np.float64) - np.asarray(truth, np.float64)
    return np.linalg.norm(difference) / (np.linalg.norm(np.asarray(truth, np.float64)) or 1.0)


def slow_evaluate(embeddings, issame, num_folds):
    """Verification accuracy, its deviation and the threshold, pair by pair and threshold by threshold."""
    num_pairs = len(issame)
    distances = np.zeros(num_pairs)
    for pair in range(num_pairs):
        rows = embeddings[2 * pair : 2 * pair + 2].astype(float)
        first, second = (row / (np.sqrt((row**2).sum()) or 1) for row in rows)
        distances[pair] = ((first - second) ** 2).sum()

    def accuracy(threshold, pairs):
        return np.mean((distances[pairs] < threshold) == issame[pairs])

    accuracies, chosen, start = [], [], 0
    for fold in range(num_folds):
        size = num_pairs // num_folds + (fold < num_pairs % num_folds)
        test = list(range(start, start + size))
        train = [pair for pair in range(num_pairs) if pair not in test] if num_folds > 1 else test
        thresholds = np.arange(0, 4, 0.01)
        train_accuracies = [accuracy(threshold, train) for threshold in thresholds]
        chosen.append(thresholds[train_accuracies.index(max(train_accuracies))])
        accuracies.append(accuracy(chosen[-1], test))
        start += size
    return np.mean(accuracies), np.std(accuracies), np.mean(chosen)

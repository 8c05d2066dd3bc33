"""A self-distilled ViT on drawn objects, with its patch features and attention maps.

    L = mean_(g, v != g) H(q(x_g), softmax(s(x_v) / 0.1)) + spread KoLeo(h(x_g)),   t = EMA of s
    q = softmax(t / tau_t), by Sinkhorn over the batch;   s = head((h - mean h) / sd h)

g is a large crop, v any other; of its own large crops the student sees the share `keep` of the
patches. Sinkhorn's algorithm centres each batch by itself and KoLeo keeps images apart, as in
DINOv2; at first all h are nearly the same, hence their normalisation over the batch. With the
paper's running centre, in so few steps, all images fell to one prototype.

`network` is a `ViT`: network.apply(variables, images) gives features [B, D] of images in [0, 1], of
any size that `patch` divides; `models.patch_features`, `patch_keys` and `class_attention` give its
maps: (network, variables, images) -> [B, h, w, D] or [B, heads, h, w].

What all crops of an image share is learnt first. So its backdrops have noise and no tint of their
own, and hues turn a little only: what is left is the object, whose colour comes first and whose
figure comes after it. With tinted backdrops it is the backdrop that is learnt, and with hues that
turn all the way nothing is. Bad at pointing: in so few steps its class token looks at the ground as
readily as at the object.

Emerging Properties in Self-Supervised Vision Transformers (Caron et al., 2021); keep: Masked
Siamese Networks for Label-Efficient Learning (Assran et al., 2022); DINOv2: Learning Robust Visual
Features without Supervision (Oquab et al., 2023).

    jssl zoo tiny_dino
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp

from jssl import algorithms, data, evaluate, losses, models, train


@dataclasses.dataclass(frozen=True)
class Recipe:
    data: str = 'shapes'  # a set of images; labels and masks are for `measure` alone
    options: tuple = (  # of `data.load`; () of other sets
        ('clutter', 0), ('contrast', (0.0, 0.05)), ('light', 0.0), ('noise', 0.1),
        ('scale', (0.5, 0.75)),
    )  # fmt: skip
    patch: int = 4
    width: int = 64
    depth: int = 3
    heads: int = 2
    registers: int = 2
    crops: tuple[int, int] = (24, 12)  # sides of large and small crops
    counts: tuple[int, int] = (2, 2)  # of large and small crops
    scales: tuple = ((0.5, 1.0), (0.25, 0.6))  # shares of the image that they show
    keep: float = 0.5  # share of a large crop's patches that the student sees
    prototypes: int = 128  # K
    temperature: float = 0.03  # tau_t
    spread: float = 0.1  # weight of KoLeo
    momentum: float = 0.95  # of the average, rising to 1; nearer to 1, it is left behind
    steps: int = 700
    batch: int = 64
    learning_rate: float = 2e-3  # peak
    seed: int = 0


NEEDS = {'knn': 0.3, 'focus': 1.5, 'focus_gain': 1.3}


def network(recipe):
    sizes = recipe.patch, recipe.width, recipe.depth, recipe.heads
    return models.ViT(*sizes, registers=recipe.registers)


@functools.lru_cache
def build(recipe):
    vit = network(recipe)
    head = models.DINOHead(recipe.prototypes, hidden=4 * recipe.width, bottleneck=recipe.width)
    rate = train.schedules.warmup_cosine(
        recipe.learning_rate, recipe.steps, warmup=recipe.steps // 10
    )
    optimiser = train.adamw(rate, clip=3.0)
    crop = functools.partial(
        data.augment.multi_crop,
        sizes=recipe.crops,
        counts=recipe.counts,
        scales=recipe.scales,
        augment=view,
    )
    large = recipe.counts[0]
    patches = (recipe.crops[0] // recipe.patch) ** 2
    channels = load(recipe, 'test')['image'].shape[3]

    def init(key):
        keys = jax.random.split(key)
        images = jnp.zeros((1, recipe.crops[0], recipe.crops[0], channels))
        params = {'vit': vit.init(keys[0], images)['params']}
        params['head'] = head.init(keys[1], jnp.zeros((1, recipe.width)))['params']
        return train.create(params, optimiser, average=True)

    def read(params, crops, keep=None):
        """[B, n, H, W, 3] -> features [B, n, D], scores [B, n, K]"""
        h = vit.apply({'params': params['vit']}, crops.reshape(-1, *crops.shape[2:]), keep=keep)
        scores = head.apply({'params': params['head']}, jax.nn.standardize(h, axis=0))
        return [x.reshape(*crops.shape[:2], -1) for x in (h, scores)]

    def loss_fn(params, state, batch, key):
        k_crop, k_keep = jax.random.split(key)
        wide, narrow = crop(k_crop, data.augment.to_float(batch['image']))
        teacher = read(state.average, wide)[1]
        order = jax.random.uniform(k_keep, (wide.shape[0] * large, patches)).argsort(1)
        keep = order[:, : round(recipe.keep * patches)]
        (h, student), (_, small) = read(params, wide, keep), read(params, narrow)
        student = jnp.concatenate([student, small], axis=1)
        teacher = teacher.swapaxes(0, 1)
        flat = teacher.reshape(-1, recipe.prototypes)
        codes = algorithms.sinkhorn(flat, epsilon=recipe.temperature).reshape(teacher.shape)
        predicted = losses.swapped_prediction(student.swapaxes(0, 1), codes).mean()
        near = jax.vmap(losses.koleo, 1)(h).mean()
        return predicted + recipe.spread * near, {'prediction': predicted, 'koleo': near}

    momentum = train.schedules.cosine_momentum(recipe.momentum, recipe.steps)
    return init, train.gradient_step(loss_fn, optimiser, ema=momentum)


def view(key, images, *, size, scale):
    """A crop, mirrored or not, in another light."""
    k_crop, k_flip, k_colour = jax.random.split(key, 3)
    x = data.augment.random_resized_crop(k_crop, images, size=size, scale=scale)
    x = data.augment.flip(k_flip, x)
    return data.augment.colour_jitter(k_colour, x, brightness=0.3, contrast=0.3, hue=0.1)


def batches(recipe):
    columns = load(recipe, 'train')
    return data.batches(columns, recipe.batch, seed=recipe.seed, fields=['image'])


def variables(recipe, state):
    return {'params': state.average['vit']}


def measure(recipe, variables):
    """Neighbours of the class, and attention on objects beside an untrained ViT's, where known."""
    seen, test = load(recipe, 'train'), load(recipe, 'test')
    vit, found = network(recipe), {}
    if test['label'].ndim == 1:
        apply = jax.tree_util.Partial(vit.apply, variables)
        h, test_h = (evaluate.features(apply, x['image'][:1000]) for x in (seen, test))
        y, test_y = (x['label'][:1000] for x in (seen, test))
        found['knn'] = evaluate.knn(h, y, test_h, test_y)
    if 'mask' in test:
        start = {'params': build(recipe)[0](jax.random.key(recipe.seed)).params['vit']}
        attend = functools.partial(models.class_attention, vit)
        trained, untrained = (focus_on_objects(attend, v, test) for v in (variables, start))
        found |= {'focus': trained, 'focus_gain': trained / untrained}
    return found


def focus_on_objects(attend, variables, columns):
    """How much denser attention is on objects than on the image, in the head that is best at it."""
    masks = columns['mask'] > 0
    masks = masks.any(1) if masks.ndim == 4 else masks
    there = masks.any((1, 2))
    attention = evaluate.features(jax.tree_util.Partial(attend, variables), columns['image'][there])
    attention = attention / attention.sum((2, 3), keepdims=True)
    by_head = jax.vmap(evaluate.attention_focus, (1, None))(attention, masks[there])
    return float(by_head.mean(1).max())


@functools.lru_cache
def load(recipe, split):
    """Columns of a split."""
    return data.load(recipe.data, split, **dict(recipe.options))

"""Resize and Upsample of images, for output sizes that are whole multiples of the scales.

TVM takes the ratio of the extents as the scale; ONNX takes the scale that is given. Where they
differ, and for antialias and keep_aspect_ratio_policy, the node is Unsupported.
"""

from dataclasses import replace

import numpy as np
from tvm import relax

from qcompile.errors import InvalidModel, Unsupported
from qcompile.frontend.node import Array, Emitter, Node, Value, constant, normalized_axis, shape_of
from qcompile.frontend.stock import converted

IMAGE_AXES = 2  # of (N, C, spatial...): the axes that are not resized
WHOLE = 1e-5  # float32 scales make products this close to whole numbers


def resize(emit: Emitter, node: Node) -> relax.Expr:
    """X, roi, scales, sizes; only X and scales in opset 10."""
    if node.integer("antialias", 0):
        raise Unsupported("antialias")
    if node.text("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise Unsupported("keep_aspect_ratio_policy; give the exact sizes")
    sizes_known = node.has(3) and node.array(3, "the sizes").size > 0
    index = 1 if node.opset < 11 else 3 if sizes_known else 2
    what = "the sizes" if sizes_known else "the scales"
    given = node.array(index, what).reshape(-1).astype("float64")
    shape = np.array(shape_of(node.expr(0)))
    full = shape.astype("float64") if sizes_known else np.ones(len(shape))
    axes = node.integers("axes", list(range(len(shape))))
    crops = node.text("coordinate_transformation_mode", "") == "tf_crop_and_resize"
    if crops and "axes" in node.attributes:
        raise Unsupported("tf_crop_and_resize with axes; name all axes")
    if len(given) != len(axes):
        raise InvalidModel(f"{len(given)} of {what} for {len(axes)} axes")
    for axis, value in zip(axes, given, strict=True):
        full[normalized_axis(axis, len(shape))] = value
    exact = full if sizes_known else shape * full
    sizes = np.rint(exact)
    if (np.abs(exact - sizes) > WHOLE * np.maximum(exact, 1)).any():
        raise Unsupported(f"scales {full.tolist()} of {shape.tolist()}, which give no whole sizes")
    return _resized(emit, _modern(node), sizes.astype("int64"))


def upsample(emit: Emitter, node: Node) -> relax.Expr:
    """X and scales; the scales are an attribute in opset 7."""
    if node.has(1):
        scales = node.array(1, "the scales").reshape(-1)
    else:
        scales = np.asarray(node.attributes.get("scales", []), "float32")
    inputs = (node.value(0), Value(constant(scales.astype("float32"))))
    return resize(emit, replace(node, operator="Resize", inputs=inputs, opset=10))


def _modern(node: Node) -> Node:
    """With the coordinates that opset 10 implied."""
    if node.opset >= 11:
        return node
    implied = {"coordinate_transformation_mode": b"asymmetric", "nearest_mode": b"floor"}
    return replace(node, attributes={**node.attributes, **implied})


def _resized(emit: Emitter, node: Node, sizes: Array) -> relax.Expr:
    shape = shape_of(node.expr(0))
    if len(shape) not in (3, 4, 5) or (sizes[:IMAGE_AXES] != shape[:IMAGE_AXES]).any():
        raise Unsupported(f"a resize of {list(shape)} to {sizes.tolist()}; images work")
    if (sizes < 1).any():
        raise InvalidModel(f"a resize to {sizes.tolist()}")
    if tuple(sizes) == shape and node.text("coordinate_transformation_mode", "") != (
        "tf_crop_and_resize"
    ):
        return node.expr(0)
    if node.text("mode", "nearest") == "cubic" and len(shape) != 4:
        raise Unsupported("cubic interpolation; it works for two-dimensional images only")
    roi = node.inputs[1] if node.opset >= 11 and node.has(1) else None
    inputs = (node.value(0), roi, None, Value(constant(sizes)))
    kept = {k: v for k, v in node.attributes.items() if k not in ("axes", "scales")}
    return converted(emit, replace(node, inputs=inputs, attributes=kept, opset=18), "Resize")

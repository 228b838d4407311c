# SPDX-License-Identifier: BSD-3-Clause
"""Tiny models for inference engines, and the engines on them:
engines.py make-onnx FILE | make-torchscript FILE | opencv FILE | torch FILE
The last two load FILE as it is, print the output and compare it with what the numbers below say."""
import struct
import sys

X = [0.5, -1.25, 2.0, 3.5]
W = [[0.25, -0.5, 1.0, 0.125], [-1.0, 0.75, -0.25, 0.5], [2.0, 1.5, -3.0, -0.5]]
B = [0.1, 2.5, 0.3]
# relu(W x + b)
Y = [max(0.0, sum(w * x for w, x in zip(row, X)) + b) for row, b in zip(W, B)]


def varint(number):
    out = b""
    while number >= 128:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


def number(field, value):
    return varint(field << 3) + varint(value)


def text(field, value):
    value = value.encode() if isinstance(value, str) else value
    return varint(field << 3 | 2) + varint(len(value)) + value


def tensor(name, dims, values):
    return text(8, name) + b"".join(number(1, d) for d in dims) + number(2, 1) + \
        text(9, struct.pack(f"<{len(values)}f", *values))


def value_info(name, dims):
    shape = b"".join(text(1, number(1, d)) for d in dims)
    return text(1, name) + text(2, text(1, number(1, 1) + text(2, shape)))


def node(kind, inputs, output, attributes=b""):
    return b"".join(text(1, i) for i in inputs) + text(2, output) + text(3, output) + text(4, kind) + attributes


def onnx():
    """ModelProto of the ONNX specification: one Gemm and one Relu."""
    transposed = text(5, text(1, "transB") + number(3, 1) + number(20, 2))
    graph = text(1, node("Gemm", ["x", "W", "b"], "z", transposed)) + text(1, node("Relu", ["z"], "y")) + \
        text(2, "tiny") + text(5, tensor("W", [3, 4], sum(W, []))) + text(5, tensor("b", [3], B)) + \
        text(11, value_info("x", [1, 4])) + text(12, value_info("y", [1, 3]))
    return number(1, 7) + text(7, graph) + text(8, text(1, "") + number(2, 11))


def make_torchscript(path):
    import torch
    layer = torch.nn.Linear(4, 3)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(W))
        layer.bias.copy_(torch.tensor(B))
    torch.jit.script(torch.nn.Sequential(layer, torch.nn.ReLU())).save(path)


def run_opencv(path):
    import cv2
    import numpy
    net = cv2.dnn.readNetFromONNX(path)
    net.setInput(numpy.array([X], numpy.float32))
    return net.forward()[0].tolist()


def run_torch(path):
    import torch
    return torch.jit.load(path)(torch.tensor([X]))[0].tolist()


def main(command, path):
    if command == "make-onnx":
        with open(path, "wb") as file:
            file.write(onnx())
        return 0
    if command == "make-torchscript":
        return make_torchscript(path)
    result = {"opencv": run_opencv, "torch": run_torch}[command](path)
    print(f"{path}: {result}, expected {Y}")
    return len(result) != len(Y) or any(abs(a - b) > 1e-5 for a, b in zip(result, Y))


sys.exit(main(*sys.argv[1:]))

"""What `--help` explains of the command line and of commands without a file of their own."""

OVERVIEW = """\
A compiler for quantized neural networks: ONNX in, a standalone C library out.

  0. quantize a float model                qcompile quantize float.onnx -o model.onnx \\
                                             --calibration images.npz --weights 4 --activations 4
  1. see what will become of a model       qcompile check model.onnx
  2. compile it                            qcompile compile model.onnx --target host -o build
  3. run it on your data                   qcompile run build --inputs samples.npz
  4. measure it, against others            qcompile bench build --against onnxruntime \\
                                             --model model.onnx
  5. make it faster on its device          qcompile tune model.onnx --target host --records records
  6. let the device choose the widths      qcompile search float.onnx --on host \\
                                             --data test.npz -o found
"""

EPILOG = """\
New here? `qcompile demo` compiles a bundled network and runs it on bundled images.
Exit codes: 0 done, 1 the input or the environment is at fault, 2 wrong usage, 3 infeasible.
QCOMPILE_DEBUG=1 shows tracebacks and what the tools print.
"""

SAMPLES = """\
An NPZ file holds one array per model input, by name, of shape (samples, *input shape without its
batch axis*). Float inputs take any float type, integer inputs exactly theirs. A single-input
model also takes one array of any name, or a .npy file. Labels are the array `y` or `label`.
"""

CHECK = """\
examples:
  qcompile check model.onnx
      every layer with its formats and multiply-adds, what stays float and why
  qcompile check model.onnx --target cascadelake --json report.json
  qcompile check model.onnx --data test.npz
      also compile for this machine and compare with onnxruntime on the samples
  qcompile check model.onnx --layers
      the bounds of every layer's sums, which prove that no accumulator overflows
  qcompile check model.onnx --data test.npz --layers
      also compare the integers of every layer with onnxruntime's, each layer on onnxruntime's own
      inputs of it; a few samples do. Codes may differ where the reference's float value lies
      within float error of a tie; ends with code 1 where a layer differs elsewhere

"""

COMPILE = """\
examples:
  qcompile compile model.onnx --target host -o build
  qcompile compile model.onnx --target x86-64-v3 -o build --name classifier --batch 8
  qcompile compile model.onnx --target my_board.toml -o build --shape ids:1x128 --shape mask:1x128
  qcompile compile deep.onnx --target host -o build --variants variants.json
      more networks in the same library, weights that they share stored once; variants.json is
      {"variants": {"shallow": {"model": "shallow.onnx"}}}, with paths relative to it
  qcompile compile model.onnx --target znver4 -o build --records tuning
      kernels as fast as the records in the folder tuning/ know how to make them for this target
  qcompile compile model.onnx --target host -o shifted --scales power-of-two
      the integers of a VTA accelerator, which shifts and does not multiply; compare the accuracy of
      this bundle and of the one with exact scales. report.json says what each layer's weights lost
  qcompile compile float.onnx --target host -o build --bits bits.json --calibration images.npz
      a float model, quantized on the way; bits.json is {"layers": {"conv2": {"w": 4, "a": 8}}},
      layers that it does not name get 8. `quantize` does the same with more choices, and keeps
      the quantized model
  qcompile compile model.onnx --target vta-pynq -o board
      an FPGA board: VTA gets the layers that it can compute sooner, board/vta/ their programs;
      `run` and `bench` simulate it with --device sim

Tuning records say which decisions made a kernel fast. They count where the problem and the
target's instructions are theirs; those of DB come before those that ship with qcompile, measured
times before modelled ones. What has no record, or none that beats the default, is compiled as
without. report.json says for each layer what it got and why. Only records of as many threads as
--threads says count; those of `tune` are of one unless it was told otherwise.

DIR holds include/NAME.h, lib/libNAME.a, lib/libNAME.so, bin/NAME_bench, an example src/main.c,
manifest.json and report.json. It is replaced as a whole, or left as it was.
"""

RUN = """\
examples:
  qcompile run build --inputs test.npz
  qcompile run build --inputs image.npy --outputs scores.npz --threads 2
  qcompile run build --inputs test.npz --variant shallow
  qcompile run build --inputs test.npz --device qemu
  qcompile run build --inputs test.npz --device sim --dump-vta dump
      a bundle for VTA: the host part here, VTA simulated; OUT/NN_name/ gets each segment's
      vta_config.json, insn.bin, dram.bin (memory before, inputs in place), expected.bin (memory
      after) and manifest.json

"""

BENCH = """\
examples:
  qcompile bench build
  qcompile bench build --threads 2 --per-layer
  qcompile bench build --device qemu
  qcompile bench build --device model:rpi4 --per-layer
  qcompile bench build --device sim --per-layer --plots
      a bundle for VTA: the cycle simulator's cycles of each layer by unit, and a picture of the
      three queues over time
  qcompile bench build --against onnxruntime,openvino --model model.onnx --json latency.json
  qcompile bench build --against litert=model.tflite

Peers are measured alternately with ours in blocks, each in a process of its own that is stopped
while another one is measured, with the same number of threads. They come with
`pip install 'qcompile[bench]'`.
"""

TARGETS = """\
examples:
  qcompile targets            all targets, and which of them run on this machine
  qcompile targets znver4     one target's facts
  qcompile targets host       this machine as a target
"""

DEVICES = """\
examples:
  qcompile devices                     this machine, emulators, and how to name boards
  qcompile devices qemu:cortex-a53     one device: its processor, and whether programs run on it
  qcompile devices ssh://pi@raspberrypi
"""

DEMO = """\
example:
  qcompile demo -o demo       keep the networks, the images and the bundles in demo/
"""

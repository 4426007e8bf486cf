"""What `tune --help` explains."""

TUNE = """\
examples:
  qcompile tune model.onnx --target host --records records
  qcompile compile model.onnx --target host --records records -o build
      the kernels that were found the fastest, each layer tuned or default as report.json tells
  qcompile tune model.onnx --target host --records records --threads 2
  qcompile compile model.onnx --target host --records records --threads 2 -o build
      the same for two threads: also what they share of each kernel
  qcompile tune model.onnx --target rpi4 --records records --trials 1000 \\
      --device ssh://pi@one --device ssh://pi@two
      several boards of one kind measure side by side; rpc://tracker:port/key twice is two boards
      of a farm
  qcompile tune model.onnx --target rpi4 --records records --device model:rpi4
      without a board: modelled cycles of its core
  qcompile tune model.onnx --target vta-pynq --records records --device sim
      layers of VTA: sizes of tiles, order of loops and halved buffers, by simulated cycles

Each convolution, product and pooling can be computed in many ways: tiles, orders of loops,
instructions. A trial is one of them, built, compared with the untuned kernel's output and timed in
turns with it; a cost model, trained on what was measured so far, proposes the next ones. No result
ever changes, only the time.

DB is a folder, made where there is none. Each trial is a line of its records.jsonl as soon as it is
measured, failures too. Ctrl-C, a kill or a lost board lose nothing: the same command goes on, and
measures nothing twice. Several may write to one folder; folders of other machines are merged by
copying their .jsonl files into it. The measurements of other networks and devices in it are what
the cost model begins with.

Records of one number of threads count for bundles that are compiled for as many, and for no
others: what is fastest on one core may have too few parts for two. Kernels run on the pool of
threads that a bundle has, so that its cost decides, too, whether work is worth sharing, and how.

The limit is what one core can do, times the threads: the most products a second of 8 bits, of
single bits or of floats that a matrix product reaches whose operands stay in the first cache,
measured before the search (of a model: what its best instructions do on registers; of VTA: one
micro-op of its GEMM unit in each cycle). Pooling has none.

"""

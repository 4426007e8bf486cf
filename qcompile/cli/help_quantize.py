"""What `quantize --help` explains."""

QUANTIZE = """\
examples:
  qcompile quantize model.onnx -o model_w4a4.onnx --calibration images.npz --weights 4 \\
      --activations 4
      4 bits everywhere but in the first and the last layer, which keep 8
  qcompile quantize model.onnx -o model_int8.onnx --calibration images.npz
      8 bits everywhere
  qcompile quantize model.onnx -o mixed.onnx --calibration images.npz --bits bits.json
      {"layers": {"conv2": {"w": 2, "a": 4}}}: weights of 2 bits, the layer's input of 4; layers
      that the file does not name get 8. `qcompile check model.onnx` lists the names
  qcompile quantize model.onnx -o model_w2a8.onnx --calibration images.npz --weights 2 --fine-tune
      then train it to do as the float model does; of use at 2 and 3 bits
  qcompile check model_w4a4.onnx --data test.npz
      the accuracy of what was written, where test.npz has labels

The model is float32; its Conv, Gemm and MatMul with constant weights are quantized, layer by layer
in the order of the data. Neither labels nor training are needed. Each layer sees the inputs that
the quantized layers before it make; its weights are first fitted to give the float results on
them, then rounded one after the other, each making up for the errors of those before. Some hundred
samples do at 8 and 4 bits, 1,000 to 2,000 are better below; layers of many inputs (dense ones)
need more samples than they have inputs.

Without --calibration, 64 samples are made from the model itself (ZeroQ): noise that is changed
until mean and deviation in front of each BatchNormalization are those that the node remembers. It
takes a model whose BatchNormalization nodes are not folded yet, and serves 8 bits, where weights
are then rounded to the nearest (a refit to made inputs costs more); samples of real data are better
below.

--fine-tune needs no labels either: all weights, biases and scales move together, so that what the
layers and the whole model give comes nearer to what the float model gives. Images (inputs of four
axes) are mirrored and moved a little while it trains. It takes minutes; the same STEPS give the
same FILE. An operator without a known gradient is an error that names those with one.

FILE is an ONNX model that other tools read: QuantizeLinear and DequantizeLinear where all widths
are 8, else QONNX with Quant (and BipolarQuant for weights of 1 bit).

The `noise` of a layer is the mean squared error of its results on the calibration data, over their
variance, errors of all layers before included.

"""

"""What `search --help` explains."""

SEARCH = """\
examples:
  qcompile search model.onnx --on host --data test.npz -o found
      the fastest widths, measured on this machine, that cost at most 1 point of accuracy
  qcompile search model.onnx --on rpi4=ssh://pi@raspberrypi --on vta-pynq --data test.npz \\
      --calibration images.npz --max-drop 0.5 -o found
      for two devices: one front for each, and the assignment that serves both
  qcompile search model.onnx --on model:rpi4 --data test.npz --bits 8,4,2,1 --budget-ms 3 -o found
      the most accurate network that takes at most 3 ms on the modelled core of an rpi4
  qcompile search model.onnx --on vta-ultra96 --accelerator --data test.npz -o found
      widths and the accelerator's configuration together, within what the board's FPGA holds

MODEL is float32. Every layer but the first and the last may take each pair of the widths in --bits,
of weights and of its input; 8 is always among them. The layers' times are measured on the device,
for each pair; an exact solver chooses the least harmful widths for a number of budgets of time;
the networks are compiled and measured as a whole; what they took corrects the times, and the solver
chooses again, until nothing new is predicted to be worth it. Accuracy is measured on the labelled
samples of --data for every network that was tried. With --accelerator all layers may take all
widths, and times are simulated.

DIR holds pareto.json (all that was tried, with the command that makes it again), report.md, and
best/: model.onnx, bits.json and the compiled bundle. A search that was stopped goes on when the
same command is given again. Ends with code 3 where budgets are below what is possible, or where
the accuracy cannot be reached; what comes nearest is told.

"""

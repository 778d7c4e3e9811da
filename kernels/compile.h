// Everything that is compiled once for each instruction set, after its vector header; all of it private to the file.
#include "linear.h"
#include "attention.h"
#include "layers.h"
#include "limits.h"

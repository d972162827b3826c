// The ggml device that multiplies streamed experts, and its registration: the only global mutable state of the project.
#pragma once

#include "ggml-backend.h"

namespace edgemoe {

// Registers the device with ggml once per process; thread-safe. llama.cpp adds it to every context by itself, as an
// accelerator.
void register_expert_backend();

// The device, registered or not. It claims MUL_MAT_ID and GET_ROWS over tensors in an ExpertBufferType and
// nothing else.
ggml_backend_dev_t expert_device();

}  // namespace edgemoe

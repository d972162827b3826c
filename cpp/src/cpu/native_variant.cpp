// The build for one machine.
#include "cpu/cpu_variant.h"

#include <cstdlib>
#include <cstring>

namespace edgemoe {

std::vector<CpuVariant> cpu_variants() {
    return {{"native", "", true, true}};
}

std::string cpu_variant_name() {
    return "native";
}

Status cpu_variant_status() {
    const char * wanted = std::getenv("EDGEMOE_CPU");
    if (wanted == nullptr || *wanted == '\0' || std::strcmp(wanted, "auto") == 0 ||
        std::strcmp(wanted, "native") == 0) {
        return Status::ok();
    }
    return Status(StatusCode::kInvalidArgument,
                  std::string("EDGEMOE_CPU=") + wanted +
                      ": this build has kernels for one machine only (native); builds with EDGEMOE_CPU_VARIANTS=ON, "
                      "such as the wheels, have more");
}

}  // namespace edgemoe

// The build for every machine of a kind. The choice is made in a constructor that runs before all others, without
// anything of the C++ library: the slots must be right before the first kernel is called, from wherever.
#include "cpu/cpu_variant.h"
#include "cpu/variant_table.h"

#include <cstdlib>
#include <cstring>

namespace edgemoe {

namespace {

#if defined(__x86_64__)

// ggml's score asks the processor alone; an operating system or hypervisor that does not save the wide registers makes
// their instructions illegal. XCR0 says what is saved.
bool system_saves_registers(const char * features) {
    if (std::strstr(features, "AVX") == nullptr) {
        return true;
    }
    uint32_t eax = 1;
    uint32_t ebx = 0;
    uint32_t ecx = 0;
    uint32_t edx = 0;
    __asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
    constexpr uint32_t kOsxsave = uint32_t{1} << 27;
    if ((ecx & kOsxsave) == 0) {
        return false;
    }
    uint32_t low = 0;
    uint32_t high = 0;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    constexpr uint32_t kAvx = 0x06;     // XMM, YMM
    constexpr uint32_t kAvx512 = 0xe6;  // and mask registers, ZMM
    const uint32_t needed = std::strstr(features, "AVX512") != nullptr ? kAvx512 : kAvx;
    return (low & needed) == needed;
}

#else

// Linux announces to programs (AT_HWCAP, what ggml's score reads) only what it saves.
bool system_saves_registers(const char *) {
    return true;
}

#endif

int score(const EdgemoeCpuVariant & variant) {
    return system_saves_registers(variant.features) ? variant.score() : 0;
}

enum class Choice { kMade, kNoneUsable, kUnknown, kUnusable };

Choice choice = Choice::kMade;
const EdgemoeCpuVariant * chosen = nullptr;
char wanted[64];

const EdgemoeCpuVariant * best_variant() {
    const EdgemoeCpuVariant * best = nullptr;
    int highest = 0;
    for (uint64_t i = 0; i < edgemoe_cpu_n_variants; i++) {
        const int own = score(edgemoe_cpu_variant_table[i]);
        if (own > highest) {
            highest = own;
            best = &edgemoe_cpu_variant_table[i];
        }
    }
    return best;
}

const EdgemoeCpuVariant * find_variant(const char * name) {
    for (uint64_t i = 0; i < edgemoe_cpu_n_variants; i++) {
        if (std::strcmp(edgemoe_cpu_variant_table[i].name, name) == 0) {
            return &edgemoe_cpu_variant_table[i];
        }
    }
    return nullptr;
}

std::string list_usable() {
    std::string text;
    for (const CpuVariant & variant : cpu_variants()) {
        if (variant.usable) {
            text += (text.empty() ? "" : ", ") + variant.name;
        }
    }
    return text;
}

}  // namespace

extern "C" __attribute__((constructor(101))) void edgemoe_cpu_select() {
    const char * given = std::getenv("EDGEMOE_CPU");
    if (given != nullptr && *given != '\0' && std::strcmp(given, "auto") != 0) {
        std::strncpy(wanted, given, sizeof(wanted) - 1);
        chosen = find_variant(given);
        choice = chosen == nullptr ? Choice::kUnknown : score(*chosen) == 0 ? Choice::kUnusable : Choice::kMade;
    } else {
        chosen = best_variant();
        choice = chosen == nullptr ? Choice::kNoneUsable : Choice::kMade;
    }
    if (choice == Choice::kMade) {
        std::memcpy(edgemoe_cpu_slots, chosen->functions, edgemoe_cpu_n_slots * sizeof(void *));
    }
}

std::vector<CpuVariant> cpu_variants() {
    std::vector<CpuVariant> variants;
    for (uint64_t i = 0; i < edgemoe_cpu_n_variants; i++) {
        const EdgemoeCpuVariant & entry = edgemoe_cpu_variant_table[i];
        variants.push_back({entry.name, entry.features, score(entry) > 0, &entry == chosen && choice == Choice::kMade});
    }
    return variants;
}

std::string cpu_variant_name() {
    return choice == Choice::kMade ? chosen->name : "none";
}

Status cpu_variant_status() {
    switch (choice) {
        case Choice::kMade:
            return Status::ok();
        case Choice::kUnknown:
            return Status(StatusCode::kInvalidArgument, std::string("EDGEMOE_CPU=") + wanted +
                                                            ": this build has no such kernels; this machine can run " +
                                                            list_usable());
        case Choice::kUnusable:
            return Status(StatusCode::kUnsupported, std::string("EDGEMOE_CPU=") + wanted +
                                                        ": this machine cannot run these kernels (they need " +
                                                        chosen->features + "); it can run " + list_usable());
        case Choice::kNoneUsable:
            break;
    }
    return Status(StatusCode::kUnsupported, std::string("this machine can run none of the kernels of this build; the "
                                                        "least need ") +
                                                edgemoe_cpu_variant_table[0].features);
}

}  // namespace edgemoe

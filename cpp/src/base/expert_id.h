// Names of what is streamed: an expert of a layer, and the weight matrices that it consists of.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>

namespace edgemoe {

// One expert of one layer. `layer` counts the model's blocks (the N of blk.N), from 0.
struct ExpertId {
    int32_t layer = 0;
    int32_t expert = 0;

    friend bool operator==(const ExpertId & a, const ExpertId & b) {
        return a.layer == b.layer && a.expert == b.expert;
    }
    friend bool operator!=(const ExpertId & a, const ExpertId & b) { return !(a == b); }
    friend bool operator<(const ExpertId & a, const ExpertId & b) {
        return a.layer != b.layer ? a.layer < b.layer : a.expert < b.expert;
    }
};

struct ExpertIdHash {
    size_t operator()(const ExpertId & id) const {
        return std::hash<uint64_t>()((static_cast<uint64_t>(static_cast<uint32_t>(id.layer)) << 32) |
                                     static_cast<uint32_t>(id.expert));
    }
};

// The matrices of an expert in the order in which they are used and read. An expert has either
// gate and up, or both fused in gate_up, or (without a gated activation) up alone; and down.
enum class Projection : uint8_t { kGate = 0, kUp = 1, kGateUp = 2, kDown = 3 };

constexpr size_t kProjectionCount = 4;
constexpr std::array<const char *, kProjectionCount> kProjectionNames = {"gate", "up", "gate_up", "down"};

constexpr const char * projection_name(Projection projection) {
    return kProjectionNames[static_cast<size_t>(projection)];
}

}  // namespace edgemoe

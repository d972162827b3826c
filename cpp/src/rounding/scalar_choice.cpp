// Scalar types: the level nearest to the target. With one column a group the metric is a positive number and does not
// matter.
#include <cassert>
#include <cmath>
#include <vector>

#include "ggml.h"
#include "rounding/block_choice.h"
#include "rounding/lanes.h"
#include "rounding/scalar_format.h"

namespace edgemoe {
namespace {

class ScalarChoice final : public BlockChoice {
public:
    ScalarChoice(const ScalarFormat & format, int64_t columns)
        : format_(format),
          columns_(columns),
          block_bytes_(static_cast<int64_t>(ggml_type_size(static_cast<ggml_type>(format.type)))),
          scales_(static_cast<size_t>(columns / format.scale_columns * kLanes)),
          inverses_(scales_.size()),
          offsets_(scales_.size()),
          codes_(static_cast<size_t>(columns * kLanes)) {}

    int64_t group() const override { return 1; }
    bool open(const std::byte * blocks, int64_t n_rows) override;
    void choose(int64_t column, const float * target, const float * factor, float * chosen) override;
    void close(std::byte * blocks, int64_t n_rows) const override;

private:
    const ScalarFormat & format_;
    int64_t columns_;
    int64_t block_bytes_;
    // [columns / scale_columns][kLanes]; lanes beyond the rows have scale 0.
    std::vector<float> scales_;
    std::vector<float> inverses_;
    std::vector<float> offsets_;
    // [columns][kLanes]
    std::vector<uint8_t> codes_;
};

bool ScalarChoice::open(const std::byte * blocks, int64_t n_rows) {
    const int64_t n_blocks = columns_ / format_.block_columns;
    const int64_t n_scales = format_.block_columns / format_.scale_columns;
    float scales[16];
    float offsets[16];
    assert(n_scales <= 16);
    std::fill(scales_.begin(), scales_.end(), 0.0F);
    std::fill(inverses_.begin(), inverses_.end(), 0.0F);
    std::fill(offsets_.begin(), offsets_.end(), 0.0F);
    for (int64_t row = 0; row < n_rows; ++row) {
        for (int64_t b = 0; b < n_blocks; ++b) {
            format_.read_scales(blocks + (row * n_blocks + b) * block_bytes_, scales, offsets);
            for (int64_t i = 0; i < n_scales; ++i) {
                if (!std::isfinite(scales[i]) || !std::isfinite(offsets[i])) {
                    return false;
                }
                const auto at = static_cast<size_t>((b * n_scales + i) * kLanes + row);
                scales_[at] = scales[i];
                offsets_[at] = offsets[i];
                const float inverse = 1.0F / scales[i];
                inverses_[at] = std::isfinite(inverse) ? inverse : 0.0F;
            }
        }
    }
    return true;
}

void ScalarChoice::choose(int64_t column, const float * target, const float * /*factor*/, float * chosen) {
    const int64_t shared = column / format_.scale_columns * kLanes;
    const FloatVector highest = splat(static_cast<float>(format_.n_levels - 1));
    for (int64_t lane = 0; lane < kLanes; lane += kVector) {
        const FloatVector scale = load(scales_.data() + shared + lane);
        const FloatVector offset = load(offsets_.data() + shared + lane);
        const FloatVector wanted = (load(target + lane) - offset) * load(inverses_.data() + shared + lane);
        IntVector code{};
        FloatVector level{};
        if (format_.levels == nullptr) {
            code = to_int(least(greatest(wanted, FloatVector{}), highest) + 0.5F);
            level = to_float(code);
        } else {
            level = splat(format_.levels[0]);
            for (int32_t i = 1; i < format_.n_levels; ++i) {
                const auto higher = static_cast<float>(format_.levels[i]);
                const IntVector above = wanted > splat(0.5F * (static_cast<float>(format_.levels[i - 1]) + higher));
                code -= above;  // true is -1
                level = above ? splat(higher) : level;
            }
        }
        store_bytes(codes_.data() + column * kLanes + lane, code);
        store(chosen + lane, scale * level + offset);
    }
}

void ScalarChoice::close(std::byte * blocks, int64_t n_rows) const {
    const int64_t n_blocks = columns_ / format_.block_columns;
    std::vector<uint8_t> codes(static_cast<size_t>(format_.block_columns));
    for (int64_t row = 0; row < n_rows; ++row) {
        for (int64_t b = 0; b < n_blocks; ++b) {
            const uint8_t * from = codes_.data() + b * format_.block_columns * kLanes + row;
            for (int64_t i = 0; i < format_.block_columns; ++i) {
                codes[static_cast<size_t>(i)] = from[i * kLanes];
            }
            format_.write_codes(codes.data(), blocks + (row * n_blocks + b) * block_bytes_);
        }
    }
}

}  // namespace

std::unique_ptr<BlockChoice> make_scalar_choice(int32_t ggml_type, int64_t columns) {
    const ScalarFormat * format = scalar_format(ggml_type);
    return format == nullptr ? nullptr : std::make_unique<ScalarChoice>(*format, columns);
}

}  // namespace edgemoe

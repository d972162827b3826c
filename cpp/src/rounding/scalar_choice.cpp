// Scalar types: the level nearest to the target. With one column a group the metric is a positive number and does not
// matter.
#include <array>
#include <vector>

#include "rounding/block_choice.h"
#include "rounding/block_scales.h"
#include "rounding/lanes.h"
#include "rounding/scalar_format.h"

namespace edgemoe {
namespace {

class ScalarChoice final : public BlockChoice {
public:
    ScalarChoice(const ScalarFormat & format, int64_t columns, int64_t lanes)
        : format_(format),
          columns_(columns),
          lanes_(lanes),
          scales_(format.scales, columns, lanes),
          codes_(static_cast<size_t>(columns * lanes)) {
        for (int32_t code = 0; code < format.n_levels; ++code) {
            levels_[static_cast<size_t>(code)] =
                static_cast<float>(format.levels != nullptr ? format.levels[code] : format.first_level + code);
        }
    }

    int64_t group() const override { return 1; }
    BlockScales & scales() override { return scales_; }
    bool open(const std::byte * blocks, int64_t n_rows) override { return scales_.read(blocks, n_rows); }
    void choose(int64_t column, const float * target, const float * factor) override;
    void choose_again(int64_t column, const float * target, const float * factor) override {
        choose(column, target, factor);
    }
    void levels(int64_t column, int64_t n, float * levels) const override;
    void close(std::byte * blocks, int64_t n_rows) const override;

private:
    const ScalarFormat & format_;
    int64_t columns_;
    int64_t lanes_;
    BlockScales scales_;
    std::array<float, 256> levels_{};
    // [columns][lanes]
    std::vector<uint8_t> codes_;
};

void ScalarChoice::choose(int64_t column, const float * target, const float * /*factor*/) {
    const FloatVector highest = splat(static_cast<float>(format_.n_levels - 1));
    const auto first_level = static_cast<float>(format_.first_level);
    for (int64_t lane = 0; lane < lanes_; lane += kVector) {
        const FloatVector wanted =
            (load(target + lane) - load(scales_.offset(column) + lane)) * load(scales_.inverse(column) + lane);
        IntVector code{};
        if (format_.levels == nullptr) {
            code = to_int(least(greatest(wanted - first_level, FloatVector{}), highest) + 0.5F);
        } else {
            for (int32_t i = 1; i < format_.n_levels; ++i) {
                code -=
                    wanted > splat(0.5F * static_cast<float>(format_.levels[i - 1] + format_.levels[i]));  // true is -1
            }
        }
        store_bytes(codes_.data() + column * lanes_ + lane, code);
    }
}

void ScalarChoice::levels(int64_t column, int64_t n, float * levels) const {
    const uint8_t * codes = codes_.data() + column * lanes_;
    for (int64_t i = 0; i < n * lanes_; ++i) {
        levels[i] = levels_[codes[i]];
    }
}

void ScalarChoice::close(std::byte * blocks, int64_t n_rows) const {
    scales_.write(blocks, n_rows);
    const int64_t block_columns = format_.scales.block_columns;
    const int64_t n_blocks = columns_ / block_columns;
    std::vector<uint8_t> codes(static_cast<size_t>(block_columns));
    for (int64_t row = 0; row < n_rows; ++row) {
        for (int64_t b = 0; b < n_blocks; ++b) {
            const uint8_t * from = codes_.data() + b * block_columns * lanes_ + row;
            for (int64_t i = 0; i < block_columns; ++i) {
                codes[static_cast<size_t>(i)] = from[i * lanes_];
            }
            format_.write_codes(codes.data(), blocks + (row * n_blocks + b) * format_.scales.block_bytes);
        }
    }
}

}  // namespace

std::unique_ptr<BlockChoice> make_scalar_choice(int32_t ggml_type, int64_t columns, int64_t lanes) {
    const ScalarFormat * format = scalar_format(ggml_type);
    return format == nullptr ? nullptr : std::make_unique<ScalarChoice>(*format, columns, lanes);
}

}  // namespace edgemoe

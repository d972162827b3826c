#include "rounding/block_scales.h"

#include <algorithm>
#include <cassert>
#include <cmath>

#include "ggml.h"

namespace edgemoe {
namespace {

// The code nearest to `wanted`. `current` if that is not a number.
float nearest_code(float wanted, float current, int32_t lowest, int32_t highest) {
    return std::isfinite(wanted)
               ? std::nearbyint(std::clamp(wanted, static_cast<float>(lowest), static_cast<float>(highest)))
               : current;
}

}  // namespace

BlockScales::BlockScales(const ScaleFormat & format, int64_t columns, int64_t lanes)
    : format_(format),
      lanes_(lanes),
      n_blocks_(columns / format.block_columns),
      n_shared_(format.block_columns / format.scale_columns),
      d_(static_cast<size_t>(n_blocks_ * lanes_)),
      dmin_(d_.size()),
      codes_(d_.size() * static_cast<size_t>(n_shared_)),
      minimum_codes_(codes_.size()),
      scales_(codes_.size()),
      inverses_(codes_.size()),
      offsets_(codes_.size()) {
    assert(n_shared_ <= StoredScales::kMostCodes);
}

// Of one row of scales, what follows from codes, d and dmin.
void BlockScales::update(int64_t shared) {
    const float * d = d_.data() + shared / n_shared_ * lanes_;
    const float * dmin = dmin_.data() + shared / n_shared_ * lanes_;
    for (int64_t lane = 0; lane < lanes_; ++lane) {
        const auto at = static_cast<size_t>(shared * lanes_ + lane);
        scales_[at] = d[lane] * (format_.code_step * codes_[at] + format_.code_start);
        offsets_[at] = -dmin[lane] * minimum_codes_[at];
        const float inverse = 1.0F / scales_[at];
        inverses_[at] = std::isfinite(inverse) ? inverse : 0.0F;
    }
}

bool BlockScales::read(const std::byte * blocks, int64_t n_rows) {
    for (std::vector<float> * all : {&d_, &dmin_, &codes_, &minimum_codes_}) {
        std::fill(all->begin(), all->end(), 0.0F);
    }
    bool finite = true;
    for (int64_t row = 0; row < n_rows; ++row) {
        for (int64_t b = 0; b < n_blocks_; ++b) {
            StoredScales stored;
            format_.read(blocks + (row * n_blocks_ + b) * format_.block_bytes, &stored);
            const auto at = static_cast<size_t>(b * lanes_ + row);
            d_[at] = ggml_fp16_to_fp32(stored.d);
            dmin_[at] = ggml_fp16_to_fp32(stored.dmin);
            finite = finite && std::isfinite(d_[at]) && std::isfinite(dmin_[at]);
            for (int64_t i = 0; i < n_shared_; ++i) {
                const auto code = static_cast<size_t>((b * n_shared_ + i) * lanes_ + row);
                codes_[code] = static_cast<float>(stored.codes[i]);
                minimum_codes_[code] = static_cast<float>(stored.minimum_codes[i]);
            }
        }
    }
    for (int64_t shared = 0; shared < n_blocks_ * n_shared_; ++shared) {
        update(shared);
    }
    return finite;
}

void BlockScales::write(std::byte * blocks, int64_t n_rows) const {
    for (int64_t row = 0; row < n_rows; ++row) {
        for (int64_t b = 0; b < n_blocks_; ++b) {
            StoredScales stored;
            const auto at = static_cast<size_t>(b * lanes_ + row);
            stored.d = ggml_fp32_to_fp16(d_[at]);
            stored.dmin = ggml_fp32_to_fp16(dmin_[at]);
            for (int64_t i = 0; i < n_shared_; ++i) {
                const auto code = static_cast<size_t>((b * n_shared_ + i) * lanes_ + row);
                stored.codes[i] = static_cast<int32_t>(codes_[code]);
                stored.minimum_codes[i] = static_cast<int32_t>(minimum_codes_[code]);
            }
            format_.write(stored, blocks + (row * n_blocks_ + b) * format_.block_bytes);
        }
    }
}

void BlockScales::move_scale(int64_t column, const float * change) {
    const int64_t shared = column / format_.scale_columns;
    for (int64_t lane = 0; lane < lanes_; ++lane) {
        float & code = codes_[static_cast<size_t>(shared * lanes_ + lane)];
        const float step = format_.code_step * d_[static_cast<size_t>(shared / n_shared_ * lanes_ + lane)];
        code = nearest_code(code + change[lane] / step, code, format_.lowest_code, format_.highest_code);
    }
    update(shared);
}

void BlockScales::move_offset(int64_t column, const float * change) {
    const int64_t shared = column / format_.scale_columns;
    for (int64_t lane = 0; lane < lanes_; ++lane) {
        float & code = minimum_codes_[static_cast<size_t>(shared * lanes_ + lane)];
        const float step = -dmin_[static_cast<size_t>(shared / n_shared_ * lanes_ + lane)];
        code = nearest_code(code + change[lane] / step, code, 0, format_.highest_minimum_code);
    }
    update(shared);
}

void BlockScales::move_block(int64_t column, const float * change) {
    const int64_t block = column / format_.block_columns;
    for (int64_t lane = 0; lane < lanes_; ++lane) {
        float & d = d_[static_cast<size_t>(block * lanes_ + lane)];
        const float wanted = ggml_fp16_to_fp32(ggml_fp32_to_fp16(d * (1.0F + change[lane])));
        d = std::isfinite(wanted) ? wanted : d;
    }
    for (int64_t i = 0; i < n_shared_; ++i) {
        update(block * n_shared_ + i);
    }
}

}  // namespace edgemoe

// Grid types, eight columns at a time, in units of the scale: signs and one or two grid vectors. Signs are those of the
// target at first, the vectors the best for these signs (all of the grid is searched); then signs are turned where that
// costs less, and the vectors are searched again. No step costs more than the one before it.
#include <algorithm>
#include <array>
#include <cassert>
#include <cmath>
#include <vector>

#include "ggml.h"
#include "rounding/block_choice.h"
#include "rounding/grid_format.h"
#include "rounding/grid_search.h"
#include "rounding/lanes.h"

namespace edgemoe {
namespace {

constexpr int64_t kGroup = kSignColumns;

int64_t n_rounds = 2;

// Eight columns of a panel while they are chosen: [column][lane].
using Columns = std::array<float, kGroup * kLanes>;

class GridChoice final : public BlockChoice {
public:
    GridChoice(const GridFormat & format, int64_t columns)
        : format_(format),
          columns_(columns),
          block_bytes_(static_cast<int64_t>(ggml_type_size(static_cast<ggml_type>(format.type)))),
          search_(format.vectors, format.n_vectors, format.vector_columns),
          scales_(static_cast<size_t>(columns / format.scale_columns * kLanes)),
          inverses_(scales_.size()),
          indices_(static_cast<size_t>(columns / format.vector_columns * kLanes)),
          signs_(static_cast<size_t>(columns / kSignColumns * kLanes)) {}

    int64_t group() const override { return kGroup; }
    bool open(const std::byte * blocks, int64_t n_rows) override;
    void choose(int64_t column, const float * target, const float * factor, float * chosen) override;
    void close(std::byte * blocks, int64_t n_rows) const override;

private:
    enum class Turn { kMakeEven, kAny, kPairs };

    void search_first(const float * factor, uint16_t * indices);
    void search_again(uint16_t * indices);
    void turn_signs(Turn turn);

    const GridFormat & format_;
    int64_t columns_;
    int64_t block_bytes_;
    GridSearch search_;
    // [columns / scale_columns][kLanes]; lanes beyond the rows have scale 0.
    std::vector<float> scales_;
    std::vector<float> inverses_;
    // [columns / vector_columns][kLanes], [columns / kSignColumns][kLanes]
    std::vector<uint16_t> indices_;
    std::vector<uint8_t> signs_;

    // Of the eight columns at hand: the metric, what is wanted, signs and magnitudes.
    std::array<float, kGroup * kGroup> metric_;
    Columns wanted_;
    Columns sign_;
    Columns magnitude_;
};

bool GridChoice::open(const std::byte * blocks, int64_t n_rows) {
    const int64_t n_blocks = columns_ / kGridBlockColumns;
    const int64_t n_scales = kGridBlockColumns / format_.scale_columns;
    std::array<float, 16> scales;
    std::fill(scales_.begin(), scales_.end(), 0.0F);
    std::fill(inverses_.begin(), inverses_.end(), 0.0F);
    for (int64_t row = 0; row < n_rows; ++row) {
        for (int64_t b = 0; b < n_blocks; ++b) {
            format_.read_scales(blocks + (row * n_blocks + b) * block_bytes_, scales.data());
            for (int64_t i = 0; i < n_scales; ++i) {
                const float scale = scales[static_cast<size_t>(i)];
                if (!std::isfinite(scale)) {
                    return false;
                }
                const auto at = static_cast<size_t>((b * n_scales + i) * kLanes + row);
                const float inverse = 1.0F / scale;
                scales_[at] = scale;
                inverses_[at] = std::isfinite(inverse) ? inverse : 0.0F;
            }
        }
    }
    return true;
}

// The first vector is chosen as if the second could make up for it, then the second.
void GridChoice::search_first(const float * factor, uint16_t * indices) {
    const int64_t n = format_.vector_columns;
    Columns pull;
    for (int64_t first = 0; first < kGroup; first += n) {
        std::array<float, kGroup * kGroup> own{};
        for (int64_t i = 0; i < n; ++i) {
            for (int64_t j = 0; j < n; ++j) {
                for (int64_t k = std::max(i, j); k < n; ++k) {
                    own[static_cast<size_t>(i * n + j)] +=
                        factor[(first + i) * kGroup + first + k] * factor[(first + j) * kGroup + first + k];
                }
            }
        }
        for (int64_t lane = 0; lane < kLanes; lane += kVector) {
            for (int64_t i = 0; i < n; ++i) {
                FloatVector sum{};
                for (int64_t j = 0; j < n; ++j) {
                    sum += load(wanted_.data() + (first + j) * kLanes + lane) * own[static_cast<size_t>(i * n + j)];
                }
                for (int64_t j = 0; j < first; ++j) {
                    const FloatVector error =
                        load(wanted_.data() + j * kLanes + lane) -
                        load(sign_.data() + j * kLanes + lane) * load(magnitude_.data() + j * kLanes + lane);
                    sum += error * metric_[static_cast<size_t>((first + i) * kGroup + j)];
                }
                store(pull.data() + i * kLanes + lane, sum);
            }
        }
        search_.find(own.data(), n, sign_.data() + first * kLanes, pull.data(), indices + first / n * kLanes,
                     magnitude_.data() + first * kLanes);
    }
}

// Each vector with the other as it is.
void GridChoice::search_again(uint16_t * indices) {
    const int64_t n = format_.vector_columns;
    Columns pull;
    for (int64_t first = 0; first < kGroup; first += n) {
        for (int64_t lane = 0; lane < kLanes; lane += kVector) {
            for (int64_t i = 0; i < n; ++i) {
                FloatVector sum{};
                for (int64_t j = 0; j < kGroup; ++j) {
                    FloatVector wanted = load(wanted_.data() + j * kLanes + lane);
                    if (j < first || j >= first + n) {
                        wanted -= load(sign_.data() + j * kLanes + lane) * load(magnitude_.data() + j * kLanes + lane);
                    }
                    sum += wanted * metric_[static_cast<size_t>((first + i) * kGroup + j)];
                }
                store(pull.data() + i * kLanes + lane, sum);
            }
        }
        search_.find(metric_.data() + first * kGroup + first, kGroup, sign_.data() + first * kLanes, pull.data(),
                     indices + first / n * kLanes, magnitude_.data() + first * kLanes);
    }
}

// Turning the sign of i changes the error by 2 s_i g_i, so the cost by 4 s_i g_i (C e)_i + 4 g_i^2 C_ii, and a pair's
// by 8 s_i g_i s_j g_j C_ij more.
void GridChoice::turn_signs(Turn turn) {
    for (int64_t lane = 0; lane < kLanes; lane += kVector) {
        std::array<FloatVector, kGroup> value;
        std::array<FloatVector, kGroup> error;
        std::array<FloatVector, kGroup> change;
        FloatVector product = splat(1.0F);
        for (size_t i = 0; i < kGroup; ++i) {
            const FloatVector sign = load(sign_.data() + i * kLanes + lane);
            product *= sign;
            value[i] = sign * load(magnitude_.data() + i * kLanes + lane);
            error[i] = load(wanted_.data() + i * kLanes + lane) - value[i];
        }
        for (size_t i = 0; i < kGroup; ++i) {
            FloatVector sum = value[i] * metric_[i * kGroup + i];
            for (size_t j = 0; j < kGroup; ++j) {
                sum += error[j] * metric_[i * kGroup + j];
            }
            change[i] = 4.0F * value[i] * sum;
        }
        FloatVector least_change = turn == Turn::kMakeEven ? splat(1e38F) : FloatVector{};
        IntVector turned{};
        const auto take = [&](const FloatVector & cost, int32_t bits) {
            const IntVector better = cost < least_change;
            least_change = better ? cost : least_change;
            turned = better ? bits - IntVector{} : turned;
        };
        for (size_t i = 0; i < kGroup; ++i) {
            if (turn != Turn::kPairs) {
                take(change[i], 1 << i);
            }
            if (turn != Turn::kMakeEven) {
                for (size_t j = i + 1; j < kGroup; ++j) {
                    take(change[i] + change[j] + 8.0F * value[i] * value[j] * metric_[i * kGroup + j], 1 << i | 1 << j);
                }
            }
        }
        if (turn == Turn::kMakeEven) {
            turned = product < FloatVector{} ? turned : IntVector{};
        }
        for (size_t i = 0; i < kGroup; ++i) {
            const FloatVector sign = load(sign_.data() + i * kLanes + lane);
            const IntVector keeps = (turned & (1 << i)) == IntVector{};
            store(sign_.data() + i * kLanes + lane, keeps ? sign : -sign);
        }
    }
}

void GridChoice::choose(int64_t column, const float * target, const float * factor, float * chosen) {
    const float * scale = scales_.data() + column / format_.scale_columns * kLanes;
    const float * inverse = inverses_.data() + column / format_.scale_columns * kLanes;
    for (int64_t i = 0; i < kGroup; ++i) {
        for (int64_t lane = 0; lane < kLanes; lane += kVector) {
            const FloatVector wanted = load(target + i * kLanes + lane) * load(inverse + lane);
            store(wanted_.data() + i * kLanes + lane, wanted);
            store(sign_.data() + i * kLanes + lane, wanted < FloatVector{} ? splat(-1.0F) : splat(1.0F));
        }
    }
    for (int64_t i = 0; i < kGroup; ++i) {
        for (int64_t j = 0; j < kGroup; ++j) {
            float sum = 0.0F;
            for (int64_t k = std::max(i, j); k < kGroup; ++k) {
                sum += factor[i * kGroup + k] * factor[j * kGroup + k];
            }
            metric_[static_cast<size_t>(i * kGroup + j)] = sum;
        }
    }
    uint16_t * indices = indices_.data() + column / format_.vector_columns * kLanes;
    search_first(factor, indices);
    if (format_.even_signs) {
        turn_signs(Turn::kMakeEven);
        search_again(indices);
    }
    for (int64_t round = 0; round < n_rounds; ++round) {
        turn_signs(format_.even_signs ? Turn::kPairs : Turn::kAny);
        search_again(indices);
    }
    uint8_t * signs = signs_.data() + column / kSignColumns * kLanes;
    for (int64_t lane = 0; lane < kLanes; ++lane) {
        unsigned bits = 0;
        for (int64_t i = 0; i < kGroup; ++i) {
            const auto at = static_cast<size_t>(i * kLanes + lane);
            bits |= static_cast<unsigned>(sign_[at] < 0.0F) << i;
            chosen[at] = scale[lane] * sign_[at] * magnitude_[at];
        }
        signs[lane] = static_cast<uint8_t>(bits);
    }
}

void GridChoice::close(std::byte * blocks, int64_t n_rows) const {
    const int64_t n_blocks = columns_ / kGridBlockColumns;
    const int64_t n_vectors = kGridBlockColumns / format_.vector_columns;
    constexpr int64_t kSigns = kGridBlockColumns / kSignColumns;
    std::array<uint16_t, kGridBlockColumns / 4> indices;
    std::array<uint8_t, kSigns> signs;
    for (int64_t row = 0; row < n_rows; ++row) {
        for (int64_t b = 0; b < n_blocks; ++b) {
            for (int64_t i = 0; i < n_vectors; ++i) {
                indices[static_cast<size_t>(i)] = indices_[static_cast<size_t>((b * n_vectors + i) * kLanes + row)];
            }
            for (int64_t i = 0; i < kSigns; ++i) {
                signs[static_cast<size_t>(i)] = signs_[static_cast<size_t>((b * kSigns + i) * kLanes + row)];
            }
            format_.write_choice(indices.data(), signs.data(), blocks + (row * n_blocks + b) * block_bytes_);
        }
    }
}

}  // namespace

std::unique_ptr<BlockChoice> make_grid_choice(int32_t ggml_type, int64_t columns) {
    const GridFormat * format = grid_format(ggml_type);
    return format == nullptr ? nullptr : std::make_unique<GridChoice>(*format, columns);
}

}  // namespace edgemoe

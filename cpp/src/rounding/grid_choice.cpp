// Grid types, eight columns at a time, in units of the scale: signs and one or two grid vectors. Signs are those of the
// target at first, the vectors the best for these signs (all of the grid is searched); then signs are turned where that
// costs less, and the vectors are searched again. No step costs more than the one before it.
#include <algorithm>
#include <array>
#include <vector>

#include "rounding/block_choice.h"
#include "rounding/block_scales.h"
#include "rounding/grid_format.h"
#include "rounding/grid_search.h"
#include "rounding/lanes.h"

namespace edgemoe {
namespace {

constexpr int64_t kGroup = kSignColumns;

// Eight columns of a panel while they are chosen: [column][lane], the lanes beyond the panel's at the end unused.
using Columns = std::array<float, kGroup * kMostLanes>;

class GridChoice final : public BlockChoice {
public:
    GridChoice(const GridFormat & format, int64_t columns, int64_t lanes)
        : format_(format),
          columns_(columns),
          lanes_(lanes),
          search_(format.vectors, format.n_vectors, format.vector_columns, lanes),
          scales_(format.scales, columns, lanes),
          indices_(static_cast<size_t>(columns / format.vector_columns * lanes)),
          signs_(static_cast<size_t>(columns / kSignColumns * lanes)) {}

    int64_t group() const override { return kGroup; }
    BlockScales & scales() override { return scales_; }
    bool open(const std::byte * blocks, int64_t n_rows) override { return scales_.read(blocks, n_rows); }
    void choose(int64_t column, const float * target, const float * factor) override;
    void choose_again(int64_t column, const float * target, const float * factor) override;
    void levels(int64_t column, int64_t n, float * levels) const override;
    void close(std::byte * blocks, int64_t n_rows) const override;

private:
    enum class Turn { kMakeEven, kAny, kPairs };

    uint16_t * indices(int64_t column) { return indices_.data() + column / format_.vector_columns * lanes_; }
    float magnitude(int64_t column, int64_t lane) const;
    bool negative(int64_t column, int64_t lane) const;

    void set_problem(int64_t column, const float * target, const float * factor);
    void search_first(const float * factor, uint16_t * indices);
    void search_again(uint16_t * indices);
    void turn_signs(Turn turn);
    void keep_signs(int64_t column);

    const GridFormat & format_;
    int64_t columns_;
    int64_t lanes_;
    GridSearch search_;
    BlockScales scales_;
    // [columns / vector_columns][lanes], [columns / kSignColumns][lanes]
    std::vector<uint16_t> indices_;
    std::vector<uint8_t> signs_;

    // Of the eight columns at hand: the metric, what is wanted, signs and magnitudes.
    std::array<float, kGroup * kGroup> metric_;
    Columns wanted_;
    Columns sign_;
    Columns magnitude_;
};

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
        for (int64_t lane = 0; lane < lanes_; lane += kVector) {
            for (int64_t i = 0; i < n; ++i) {
                FloatVector sum{};
                for (int64_t j = 0; j < n; ++j) {
                    sum += load(wanted_.data() + (first + j) * lanes_ + lane) * own[static_cast<size_t>(i * n + j)];
                }
                for (int64_t j = 0; j < first; ++j) {
                    const FloatVector error =
                        load(wanted_.data() + j * lanes_ + lane) -
                        load(sign_.data() + j * lanes_ + lane) * load(magnitude_.data() + j * lanes_ + lane);
                    sum += error * metric_[static_cast<size_t>((first + i) * kGroup + j)];
                }
                store(pull.data() + i * lanes_ + lane, sum);
            }
        }
        search_.find(own.data(), n, sign_.data() + first * lanes_, pull.data(), indices + first / n * lanes_,
                     magnitude_.data() + first * lanes_);
    }
}

// Each vector with the other as it is.
void GridChoice::search_again(uint16_t * indices) {
    const int64_t n = format_.vector_columns;
    Columns pull;
    for (int64_t first = 0; first < kGroup; first += n) {
        for (int64_t lane = 0; lane < lanes_; lane += kVector) {
            for (int64_t i = 0; i < n; ++i) {
                FloatVector sum{};
                for (int64_t j = 0; j < kGroup; ++j) {
                    FloatVector wanted = load(wanted_.data() + j * lanes_ + lane);
                    if (j < first || j >= first + n) {
                        wanted -= load(sign_.data() + j * lanes_ + lane) * load(magnitude_.data() + j * lanes_ + lane);
                    }
                    sum += wanted * metric_[static_cast<size_t>((first + i) * kGroup + j)];
                }
                store(pull.data() + i * lanes_ + lane, sum);
            }
        }
        search_.find(metric_.data() + first * kGroup + first, kGroup, sign_.data() + first * lanes_, pull.data(),
                     indices + first / n * lanes_, magnitude_.data() + first * lanes_);
    }
}

// Turning the sign of i changes the error by 2 s_i g_i, so the cost by 4 s_i g_i (C e)_i + 4 g_i^2 C_ii, and a pair's
// by 8 s_i g_i s_j g_j C_ij more.
void GridChoice::turn_signs(Turn turn) {
    for (int64_t lane = 0; lane < lanes_; lane += kVector) {
        std::array<FloatVector, kGroup> value;
        std::array<FloatVector, kGroup> error;
        std::array<FloatVector, kGroup> change;
        FloatVector product = splat(1.0F);
        for (size_t i = 0; i < kGroup; ++i) {
            const FloatVector sign = load(sign_.data() + i * lanes_ + lane);
            product *= sign;
            value[i] = sign * load(magnitude_.data() + i * lanes_ + lane);
            error[i] = load(wanted_.data() + i * lanes_ + lane) - value[i];
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
            const FloatVector sign = load(sign_.data() + i * lanes_ + lane);
            const IntVector keeps = (turned & (1 << i)) == IntVector{};
            store(sign_.data() + i * lanes_ + lane, keeps ? sign : -sign);
        }
    }
}

float GridChoice::magnitude(int64_t column, int64_t lane) const {
    const int64_t n = format_.vector_columns;
    const int64_t index = indices_[static_cast<size_t>(column / n * lanes_ + lane)];
    return static_cast<float>(format_.vectors[index * n + column % n]);
}

bool GridChoice::negative(int64_t column, int64_t lane) const {
    return (signs_[static_cast<size_t>(column / kSignColumns * lanes_ + lane)] >> (column % kSignColumns) & 1) != 0;
}

void GridChoice::set_problem(int64_t column, const float * target, const float * factor) {
    for (int64_t i = 0; i < kGroup; ++i) {
        for (int64_t lane = 0; lane < lanes_; lane += kVector) {
            store(wanted_.data() + i * lanes_ + lane,
                  load(target + i * lanes_ + lane) * load(scales_.inverse(column) + lane));
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
}

void GridChoice::keep_signs(int64_t column) {
    uint8_t * signs = signs_.data() + column / kSignColumns * lanes_;
    for (int64_t lane = 0; lane < lanes_; ++lane) {
        unsigned bits = 0;
        for (int64_t i = 0; i < kGroup; ++i) {
            bits |= static_cast<unsigned>(sign_[static_cast<size_t>(i * lanes_ + lane)] < 0.0F) << i;
        }
        signs[lane] = static_cast<uint8_t>(bits);
    }
}

void GridChoice::choose(int64_t column, const float * target, const float * factor) {
    set_problem(column, target, factor);
    for (size_t i = 0; i < static_cast<size_t>(kGroup * lanes_); ++i) {
        sign_[i] = wanted_[i] < 0.0F ? -1.0F : 1.0F;
    }
    search_first(factor, indices(column));
    turn_signs(format_.even_signs ? Turn::kMakeEven : Turn::kAny);
    search_again(indices(column));
    keep_signs(column);
}

void GridChoice::choose_again(int64_t column, const float * target, const float * factor) {
    set_problem(column, target, factor);
    for (int64_t i = 0; i < kGroup; ++i) {
        for (int64_t lane = 0; lane < lanes_; ++lane) {
            const auto at = static_cast<size_t>(i * lanes_ + lane);
            sign_[at] = negative(column + i, lane) ? -1.0F : 1.0F;
            magnitude_[at] = magnitude(column + i, lane);
        }
    }
    turn_signs(format_.even_signs ? Turn::kPairs : Turn::kAny);
    search_again(indices(column));
    keep_signs(column);
}

void GridChoice::levels(int64_t column, int64_t n, float * levels) const {
    for (int64_t i = 0; i < n; ++i) {
        for (int64_t lane = 0; lane < lanes_; ++lane) {
            const float level = magnitude(column + i, lane);
            levels[i * lanes_ + lane] = negative(column + i, lane) ? -level : level;
        }
    }
}

void GridChoice::close(std::byte * blocks, int64_t n_rows) const {
    scales_.write(blocks, n_rows);
    const int64_t n_blocks = columns_ / kGridBlockColumns;
    const int64_t n_vectors = kGridBlockColumns / format_.vector_columns;
    constexpr int64_t kSigns = kGridBlockColumns / kSignColumns;
    std::array<uint16_t, kGridBlockColumns / 4> indices;
    std::array<uint8_t, kSigns> signs;
    for (int64_t row = 0; row < n_rows; ++row) {
        for (int64_t b = 0; b < n_blocks; ++b) {
            for (int64_t i = 0; i < n_vectors; ++i) {
                indices[static_cast<size_t>(i)] = indices_[static_cast<size_t>((b * n_vectors + i) * lanes_ + row)];
            }
            for (int64_t i = 0; i < kSigns; ++i) {
                signs[static_cast<size_t>(i)] = signs_[static_cast<size_t>((b * kSigns + i) * lanes_ + row)];
            }
            format_.write_choice(indices.data(), signs.data(),
                                 blocks + (row * n_blocks + b) * format_.scales.block_bytes);
        }
    }
}

}  // namespace

std::unique_ptr<BlockChoice> make_grid_choice(int32_t ggml_type, int64_t columns, int64_t lanes) {
    const GridFormat * format = grid_format(ggml_type);
    return format == nullptr ? nullptr : std::make_unique<GridChoice>(*format, columns, lanes);
}

}  // namespace edgemoe

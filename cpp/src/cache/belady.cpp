// Bytes as pages: an expert is so many pages that are always asked for together, so evicting from whoever is used again
// last, as many bytes as are needed and no more, is optimal for experts of any sizes.
//
// Invariants, between demands of a run (successive counted demands): the bytes in kept_ sum to kept_bytes_ <=
// budget_bytes_; the key of an expert in kept_ is the number of the demand of this run that asks for it next, and the
// id.
#include "cache/belady.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <map>
#include <unordered_map>
#include <unordered_set>
#include <utility>

namespace edgemoe {
namespace {

constexpr size_t kNever = std::numeric_limits<size_t>::max();

// [i][j]: the next demand of the same run with the j-th expert of demand i, or kNever.
std::vector<std::vector<size_t>> next_uses(const std::vector<ExpertDemand> & demands) {
    std::vector<std::vector<size_t>> next_use(demands.size());
    std::unordered_map<ExpertId, size_t, ExpertIdHash> upcoming;
    for (size_t i = demands.size(); i-- > 0;) {
        const ExpertDemand & demand = demands[i];
        if (!demand.counted) {
            upcoming.clear();
            continue;
        }
        for (const int32_t expert : demand.experts) {
            const auto [found, is_new] = upcoming.try_emplace({demand.layer, expert}, kNever);
            next_use[i].push_back(found->second);
            found->second = i;
        }
    }
    return next_use;
}

class Oracle {
public:
    Oracle(const std::vector<ExpertDemand> & demands, const ExpertSizes & sizes, uint64_t budget_bytes)
        : demands_(demands), sizes_(sizes), budget_bytes_(budget_bytes), next_use_(next_uses(demands)) {}

    BeladyResult run() {
        for (size_t i = 0; i < demands_.size(); ++i) {
            if (demands_[i].counted) {
                if (i > 0 && !demands_[i - 1].counted) {
                    begin_run(i);
                }
                serve(i);
            }
            for (const int32_t expert : demands_[i].experts) {
                seen_.insert({demands_[i].layer, expert});
            }
        }
        return result_;
    }

private:
    // What was not counted cost nothing, so the cache may hold anything that was seen: what is needed first.
    void begin_run(size_t first) {
        kept_.clear();
        kept_bytes_ = 0;
        std::unordered_set<ExpertId, ExpertIdHash> passed;
        for (size_t i = first; i < demands_.size() && demands_[i].counted && kept_bytes_ < budget_bytes_; ++i) {
            for (const int32_t expert : demands_[i].experts) {
                const ExpertId id{demands_[i].layer, expert};
                if (passed.insert(id).second && seen_.count(id) != 0) {
                    keep(i, id, std::min(sizes_.of(id), budget_bytes_ - kept_bytes_));
                }
            }
        }
    }

    void serve(size_t i) {
        const ExpertDemand & demand = demands_[i];
        uint64_t pinned_bytes = 0;
        for (const int32_t expert : demand.experts) {
            const uint64_t bytes = sizes_.of({demand.layer, expert});
            pinned_bytes += bytes;
            uint64_t resident_bytes = 0;
            const auto found = kept_.find({i, {demand.layer, expert}});
            if (found != kept_.end()) {
                resident_bytes = found->second;
                kept_bytes_ -= resident_bytes;
                kept_.erase(found);
            }
            result_.requests += 1;
            result_.missed_bytes += bytes - resident_bytes;
            result_.misses += static_cast<double>(bytes - resident_bytes) / static_cast<double>(bytes);
        }
        // A demand larger than the budget is served in waves, and pins nothing for long.
        if (pinned_bytes <= budget_bytes_) {
            shrink_to(budget_bytes_ - pinned_bytes);
        }
        for (size_t j = 0; j < demand.experts.size(); ++j) {
            if (next_use_[i][j] != kNever) {
                const ExpertId id{demand.layer, demand.experts[j]};
                keep(next_use_[i][j], id, sizes_.of(id));
            }
        }
        shrink_to(budget_bytes_);
    }

    void keep(size_t next_use, ExpertId id, uint64_t bytes) {
        if (bytes > 0) {
            kept_[{next_use, id}] = bytes;
            kept_bytes_ += bytes;
        }
    }

    void shrink_to(uint64_t bytes) {
        while (kept_bytes_ > bytes) {
            const auto last = std::prev(kept_.end());
            const uint64_t given_up = std::min(last->second, kept_bytes_ - bytes);
            last->second -= given_up;
            kept_bytes_ -= given_up;
            if (last->second == 0) {
                kept_.erase(last);
            }
        }
    }

    const std::vector<ExpertDemand> & demands_;
    const ExpertSizes & sizes_;
    uint64_t budget_bytes_;
    std::vector<std::vector<size_t>> next_use_;
    std::unordered_set<ExpertId, ExpertIdHash> seen_;
    std::map<std::pair<size_t, ExpertId>, uint64_t> kept_;
    uint64_t kept_bytes_ = 0;
    BeladyResult result_;
};

}  // namespace

BeladyResult belady(const std::vector<ExpertDemand> & demands, const ExpertSizes & sizes, uint64_t budget_bytes) {
    return Oracle(demands, sizes, budget_bytes).run();
}

}  // namespace edgemoe

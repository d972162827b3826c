#include "quant/allocation.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string>

namespace edgemoe {

namespace {

// The limited quantity is the resource, the minimized one the value; which is which is all that the two problems differ
// in.
struct Axes {
    double Choice::*resource;
    double Choice::*value;
    const char * resource_name;
};

// A step along a group's hull. The segments of a group have falling efficiency, so that sorting all by efficiency keeps
// each group's order.
struct Segment {
    size_t group = 0;
    uint32_t to = 0;
    double resource = 0;    // more of it, > 0
    double value = 0;       // less of it, > 0
    double efficiency = 0;  // value / resource
};

// Corners of the lower convex hull from the choice of least resource to that of least value, by rising resource and
// falling value.
std::vector<uint32_t> lower_hull(const std::vector<Choice> & choices, const Axes & axes) {
    std::vector<uint32_t> order(choices.size());
    for (size_t i = 0; i < order.size(); i++) {
        order[i] = static_cast<uint32_t>(i);
    }
    std::stable_sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
        const Choice & x = choices[a];
        const Choice & y = choices[b];
        return x.*axes.resource != y.*axes.resource ? x.*axes.resource < y.*axes.resource
                                                    : x.*axes.value < y.*axes.value;
    });
    std::vector<uint32_t> hull;
    for (const uint32_t next : order) {
        const Choice & point = choices[next];
        if (!hull.empty() && point.*axes.value >= choices[hull.back()].*axes.value) {
            continue;  // dominated
        }
        while (hull.size() >= 2) {
            const Choice & a = choices[hull[hull.size() - 2]];
            const Choice & b = choices[hull.back()];
            // b lies on or above the line from a to the new point.
            const double rise_b = (a.*axes.value - b.*axes.value) * (point.*axes.resource - a.*axes.resource);
            const double rise_new = (a.*axes.value - point.*axes.value) * (b.*axes.resource - a.*axes.resource);
            if (rise_b > rise_new) {
                break;
            }
            hull.pop_back();
        }
        hull.push_back(next);
    }
    return hull;
}

Status check(const std::vector<Group> & groups, double limit) {
    if (!std::isfinite(limit)) {
        return Status(StatusCode::kInvalidArgument, "allocation: the limit is not a finite number");
    }
    for (size_t i = 0; i < groups.size(); i++) {
        const std::string name = "allocation: group " + std::to_string(i);
        if (groups[i].choices.empty()) {
            return Status(StatusCode::kInvalidArgument, name + " has no choices");
        }
        for (const Choice & choice : groups[i].choices) {
            if (!std::isfinite(choice.cost) || !std::isfinite(choice.damage) || choice.cost < 0 || choice.damage < 0) {
                return Status(StatusCode::kInvalidArgument,
                              name + " has a cost or damage that is negative or not finite");
            }
        }
    }
    return Status::ok();
}

// Takes, again and again, the one change of a single group that gains most among those that still fit: what lies
// between the hull's corners counts here too.
void fill(const std::vector<Group> & groups, const Axes & axes, double limit, Allocation * allocation,
          double * resource) {
    for (;;) {
        size_t best_group = groups.size();
        uint32_t best_choice = 0;
        double best_gain = 0;
        for (size_t i = 0; i < groups.size(); i++) {
            const std::vector<Choice> & choices = groups[i].choices;
            const Choice & now = choices[allocation->chosen[i]];
            for (uint32_t k = 0; k < choices.size(); k++) {
                const double gain = now.*axes.value - choices[k].*axes.value;
                const double more = choices[k].*axes.resource - now.*axes.resource;
                if (gain > best_gain && *resource + more <= limit) {
                    best_group = i;
                    best_choice = k;
                    best_gain = gain;
                }
            }
        }
        if (best_group == groups.size()) {
            return;
        }
        const std::vector<Choice> & choices = groups[best_group].choices;
        *resource += choices[best_choice].*axes.resource - choices[allocation->chosen[best_group]].*axes.resource;
        allocation->chosen[best_group] = best_choice;
    }
}

Result<Allocation> solve(const std::vector<Group> & groups, double limit, const Axes & axes) {
    Status status = check(groups, limit);
    if (!status.is_ok()) {
        return status;
    }
    Allocation allocation;
    std::vector<Segment> segments;
    double resource = 0;
    double value = 0;
    for (size_t i = 0; i < groups.size(); i++) {
        const std::vector<Choice> & choices = groups[i].choices;
        const std::vector<uint32_t> hull = lower_hull(choices, axes);
        allocation.chosen.push_back(hull.front());
        resource += choices[hull.front()].*axes.resource;
        value += choices[hull.front()].*axes.value;
        for (size_t k = 1; k < hull.size(); k++) {
            const Choice & from = choices[hull[k - 1]];
            const Choice & to = choices[hull[k]];
            Segment segment{i, hull[k], to.*axes.resource - from.*axes.resource, from.*axes.value - to.*axes.value, 0};
            // Falls along a hull; rounding may not turn that round.
            segment.efficiency = segment.value / segment.resource;
            if (k > 1) {
                segment.efficiency = std::min(segment.efficiency, segments.back().efficiency);
            }
            segments.push_back(segment);
        }
    }
    if (resource > limit) {
        return Status(StatusCode::kOutOfBudget, "allocation: the least " + std::string(axes.resource_name) + " is " +
                                                    std::to_string(resource) + ", the limit " + std::to_string(limit));
    }
    std::stable_sort(segments.begin(), segments.end(),
                     [](const Segment & a, const Segment & b) { return a.efficiency > b.efficiency; });

    double bound = value;
    for (const Segment & segment : segments) {
        if (resource + segment.resource > limit) {
            // With fractions allowed, the rest of the limit would buy a part of this segment, and nothing more.
            allocation.multiplier = segment.efficiency;
            bound -= (limit - resource) * segment.efficiency;
            break;
        }
        resource += segment.resource;
        bound -= segment.value;
        allocation.chosen[segment.group] = segment.to;
    }
    fill(groups, axes, limit, &allocation, &resource);

    // Summed anew, in the groups' order: the running sums have rounding errors of their own.
    for (size_t i = 0; i < groups.size(); i++) {
        const Choice & choice = groups[i].choices[allocation.chosen[i]];
        allocation.cost += choice.cost;
        allocation.damage += choice.damage;
    }
    const double reached = axes.value == &Choice::damage ? allocation.damage : allocation.cost;
    if (reached > bound) {
        allocation.gap = bound > 0 ? reached / bound - 1 : std::numeric_limits<double>::infinity();
    }
    return allocation;
}

}  // namespace

Result<Allocation> least_damage(const std::vector<Group> & groups, double cost_limit) {
    return solve(groups, cost_limit, {&Choice::cost, &Choice::damage, "cost"});
}

Result<Allocation> least_cost(const std::vector<Group> & groups, double damage_limit) {
    return solve(groups, damage_limit, {&Choice::damage, &Choice::cost, "damage"});
}

}  // namespace edgemoe

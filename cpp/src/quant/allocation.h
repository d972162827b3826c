// Which quantization type each expert's matrix gets: a multiple-choice knapsack. Each group (one projection of one
// expert) takes exactly one of its choices; the sum of one quantity is limited, the sum of the other is to be least.
//
// Solved through the convex hull of each group's choices: in order of efficiency, the hulls' segments are the optimum
// of the problem with fractions allowed (Sinha and Zoltners, "The Multiple-Choice Knapsack Problem", Operations
// Research 1979), whose last efficiency is the Lagrange multiplier. What the limit then leaves is filled greedily, and
// the optimum with fractions says how far from the best the answer can be at most. Pure functions.
#pragma once

#include "base/status.h"

#include <cstdint>
#include <vector>

namespace edgemoe {

// A type that a group may have. Cost and damage are finite and not negative.
struct Choice {
    int32_t type = 0;    // a ggml_type; not interpreted here
    uint64_t bytes = 0;  // of the matrix in that type; not interpreted here
    double cost = 0;     // what the objective counts: bytes, bytes read per token, time
    double damage = 0;   // expected loss of quality; adds up over groups
};

struct Group {
    std::vector<Choice> choices;  // at least one, in any order
};

struct Allocation {
    std::vector<uint32_t> chosen;  // by group: index into its choices
    double cost = 0;
    double damage = 0;
    // The minimized sum is at most this share above the optimum: sum / Lagrangian bound - 1.
    double gap = 0;
    // What the limit is worth at the margin: damage per unit of cost (least_damage) or cost per unit of damage
    // (least_cost). 0 where every group has its best choice.
    double multiplier = 0;
};

// The choices of least damage whose cost is at most `cost_limit`. Equal inputs give equal answers; of choices that are
// equally good the first is taken. kOutOfBudget when even the cheapest choices cost more (the message names their
// cost), kInvalidArgument for an empty group or a number that is negative or not finite.
Result<Allocation> least_damage(const std::vector<Group> & groups, double cost_limit);

// The choices of least cost whose damage is at most `damage_limit`; as above.
Result<Allocation> least_cost(const std::vector<Group> & groups, double damage_limit);

}  // namespace edgemoe

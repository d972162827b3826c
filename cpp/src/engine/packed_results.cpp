#include "engine/packed_results.h"

#include "engine/packed_format.h"

namespace edgemoe {

std::vector<GgufKeyValue> to_key_values(const PackedResults & results) {
    const std::string prefix = kPackedPrefix;
    return {{prefix + "perplexity", results.perplexity},
            {prefix + "kl_divergence", results.kl_divergence},
            {prefix + "kl_divergence_error", results.kl_divergence_error},
            {prefix + "argmax_agreement", results.argmax_agreement},
            {prefix + "tokens", results.tokens}};
}

}  // namespace edgemoe

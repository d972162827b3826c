// Loads a model with a memory budget, generates, and prints the text as it comes and what it took.
#include <edgemoe/edgemoe.hpp>

#include <exception>
#include <iostream>
#include <string>
#include <string_view>

namespace moe = edgemoe::client;

int main(int argc, char ** argv) {
    if (argc != 4) {
        std::cerr << "usage: " << argv[0] << " MODEL.gguf MEMORY_IN_MIB PROMPT\n";
        return 2;
    }
    try {
        edgemoe_load_params params = moe::default_load_params();
        params.memory_bytes = std::stoull(argv[2]) << 20;  // 0: what is free
        moe::Model model = moe::Model::load(argv[1], params);

        edgemoe_generate_params generate = moe::default_generate_params();
        generate.max_tokens = 32;
        generate.temperature = 0;  // greedy: the same text every time
        model.generate(argv[3], generate, [](std::string_view text) {
            std::cout << text << std::flush;
            return true;  // false stops
        });
        std::cout << '\n';

        const edgemoe_stats stats = model.stats();
        std::cerr << model.info().name << ", " << model.info().mode << ": " << stats.generated_tokens << " tokens, "
                  << stats.generation_tokens_per_second << " tokens/s, " << 100 * stats.hit_rate
                  << "% of the experts were in the cache, " << stats.read_bytes / (1 << 20) << " MiB were read\n";
    } catch (const moe::Error & error) {
        std::cerr << error.what() << '\n';
        return 1;
    } catch (const std::exception & error) {
        std::cerr << argv[2] << ": not a number of MiB (" << error.what() << ")\n";
        return 2;
    }
    return 0;
}

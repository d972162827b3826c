#include "c_api/description.h"

#include "cpu/cpu_variant.h"
#include "engine/chat.h"

#include <algorithm>
#include <map>

namespace edgemoe {

namespace {

// "24 expert tensors q4_K, 41 hot tensors f32"
std::string list_types(const GgufSource & source) {
    std::map<std::string, int> expert;
    std::map<std::string, int> hot;
    for (const GgufSource::Tensor & tensor : source.tensors()) {
        if (!tensor.expert || !source.packed()) {
            (tensor.expert ? expert : hot)[ggml_type_name(static_cast<ggml_type>(tensor.type))]++;
        }
    }
    for (const ExpertLayer & layer : source.packed() ? source.experts().layers() : std::vector<ExpertLayer>()) {
        for (const ExpertParts & parts : layer.experts) {
            for (const ExpertPart & part : parts) {
                if (part.present) {
                    expert[ggml_type_name(static_cast<ggml_type>(part.type))]++;
                }
            }
        }
    }
    std::string text;
    const auto add = [&](const std::map<std::string, int> & types, const char * what) {
        for (const auto & [name, count] : types) {
            text += (text.empty() ? "" : ", ") + std::to_string(count) + " " + what + " " + name;
        }
    };
    add(expert, "expert tensors");
    add(hot, "hot tensors");
    return text;
}

}  // namespace

void describe_source(const GgufSource & source, const MemoryPlan & plan, DescriptionStrings * strings,
                     edgemoe_model_info * info) {
    const ExpertIndex & experts = source.experts();
    strings->path = source.path();
    strings->architecture = source.architecture();
    strings->name = source.text("general.name");
    strings->mode = experts.empty() ? "dense" : "streamed";
    strings->io = "none";
    strings->io_reason = source.direct_refusal();
    strings->types = list_types(source);
    strings->cpu = cpu_variant_name();

    info->path = strings->path.c_str();
    info->architecture = strings->architecture.c_str();
    info->name = strings->name.c_str();
    info->mode = strings->mode.c_str();
    info->io = strings->io.c_str();
    info->io_reason = strings->io_reason.c_str();
    info->types = strings->types.c_str();
    info->cpu = strings->cpu.c_str();
    info->direct_io = source.direct_io();
    info->has_tokenizer = !source.text("tokenizer.ggml.model").empty() &&
                          source.text("tokenizer.ggml.model") != "none" &&
                          source.text("tokenizer.ggml.model") != "no_vocab";
    info->has_chat_template = !source.text("tokenizer.chat_template").empty();
    info->n_layers = static_cast<int32_t>(source.architecture_integer("block_count", 0));
    info->n_moe_layers = static_cast<int32_t>(experts.layers().size());
    info->n_experts = 0;
    for (const ExpertLayer & layer : experts.layers()) {
        info->n_experts = std::max(info->n_experts, static_cast<int32_t>(layer.experts.size()));
    }
    info->n_experts_used = experts.empty() ? 0 : experts.n_experts_used();
    const int64_t tokens = gguf_find_key(source.metadata(), "tokenizer.ggml.tokens");
    info->n_vocab = static_cast<int32_t>(tokens >= 0 ? static_cast<int64_t>(gguf_get_arr_n(source.metadata(), tokens))
                                                     : source.architecture_integer("vocab_size", 0));
    info->n_ctx = plan.n_ctx;
    info->n_ctx_train = plan.n_ctx_train;
    info->n_batch = 0;
    info->n_threads = 0;
    info->file_bytes = source.file_bytes();
    info->hot_bytes = source.hot_bytes();
    info->expert_bytes = experts.total_bytes();
    info->expert_cache_bytes = 0;
    info->largest_expert_bytes = experts.largest_expert_bytes();
    info->kv_cache_bytes = plan.kv_cache_bytes;
    info->compute_buffer_bytes = plan.compute_bytes;
    info->least_memory_bytes = plan.least_bytes();
    info->useful_memory_bytes = plan.useful_bytes();
    info->memory_bytes = 0;
    info->row_table_bytes = plan.row_table_bytes;
}

void describe_model(const Model & model, int32_t n_ctx, int32_t n_batch, DescriptionStrings * strings,
                    edgemoe_model_info * info) {
    describe_source(model.source(), model.plan(), strings, info);
    strings->mode = model.mode();
    strings->io = model.io_name();
    strings->io_reason = model.io_reason();
    info->mode = strings->mode.c_str();
    info->io = strings->io.c_str();
    info->io_reason = strings->io_reason.c_str();
    info->has_tokenizer = has_tokenizer(model);
    info->has_chat_template = has_chat_template(model);
    info->n_vocab = llama_vocab_n_tokens(model.vocab());
    info->n_ctx = n_ctx;
    info->n_batch = n_batch;
    info->n_threads = model.n_threads();
    info->direct_io = model.options().streaming && model.source().direct_io() && model.io_name() != "mmap";
    info->expert_cache_bytes = model.store() != nullptr ? model.store()->cache_bytes() : 0;
    info->memory_bytes = model.ceiling_bytes();
    info->row_table_bytes = model.row_tables() != nullptr ? model.plan().row_table_bytes : 0;
}

}  // namespace edgemoe

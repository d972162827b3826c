#include "engine/packed_format.h"

#include "storage/crc32c.h"

#include <algorithm>
#include <cassert>
#include <charconv>
#include <cstring>
#include <string_view>

namespace edgemoe {

namespace {

bool skip(std::string_view * rest, std::string_view literal) {
    const bool there = rest->substr(0, literal.size()) == literal;
    rest->remove_prefix(there ? literal.size() : 0);
    return there;
}

bool take_number(std::string_view * rest, int32_t * number) {
    if (rest->empty() || rest->front() < '0' || rest->front() > '9') {
        return false;
    }
    const auto parsed = std::from_chars(rest->data(), rest->data() + rest->size(), *number);
    if (parsed.ec != std::errc()) {
        return false;
    }
    rest->remove_prefix(static_cast<size_t>(parsed.ptr - rest->data()));
    return true;
}

// Where the value of kHeaderChecksumKey is.
std::optional<size_t> find_header_checksum(const std::vector<std::byte> & header) {
    std::vector<std::byte> entry(sizeof(uint64_t) + std::strlen(kHeaderChecksumKey) + sizeof(uint32_t));
    const uint64_t length = std::strlen(kHeaderChecksumKey);
    const uint32_t type = GGUF_TYPE_UINT32;
    std::memcpy(entry.data(), &length, sizeof(length));
    std::memcpy(entry.data() + sizeof(length), kHeaderChecksumKey, length);
    std::memcpy(entry.data() + sizeof(length) + length, &type, sizeof(type));
    const auto found = std::search(header.begin(), header.end(), entry.begin(), entry.end());
    const auto place = static_cast<size_t>(found - header.begin()) + entry.size();
    if (found == header.end() || place + sizeof(uint32_t) > header.size()) {
        return std::nullopt;
    }
    return place;
}

// The header's checksum; the one that it carries becomes zeros.
uint32_t take_checksum(std::vector<std::byte> * header, size_t place, uint32_t * stored) {
    std::memcpy(stored, header->data() + place, sizeof(*stored));
    std::memset(header->data() + place, 0, sizeof(*stored));
    return crc32c(header->data(), header->size());
}

bool has_prefix(const char * key) {
    return std::strncmp(key, kPackedPrefix, std::strlen(kPackedPrefix)) == 0;
}

}  // namespace

std::string packed_tensor_name(ExpertId id, Projection projection) {
    return "blk." + std::to_string(id.layer) + ".ffn_" + projection_name(projection) + "_exps." +
           std::to_string(id.expert) + ".weight";
}

bool parse_packed_tensor_name(const char * name, ExpertId * id, Projection * projection) {
    for (size_t p = 0; p < kProjectionCount; p++) {
        std::string_view rest(name);
        ExpertId parsed;
        if (skip(&rest, "blk.") && take_number(&rest, &parsed.layer) &&
            skip(&rest, std::string(".ffn_") + kProjectionNames[p] + "_exps.") && take_number(&rest, &parsed.expert) &&
            rest == ".weight") {
            *id = parsed;
            *projection = static_cast<Projection>(p);
            return true;
        }
    }
    return false;
}

bool looks_packed(const gguf_context * gguf) {
    for (int64_t i = 0; i < gguf_get_n_kv(gguf); i++) {
        if (has_prefix(gguf_get_key(gguf, i))) {
            return true;
        }
    }
    for (int64_t i = 0; i < gguf_get_n_tensors(gguf); i++) {
        ExpertId id;
        Projection projection = Projection::kGate;
        if (parse_packed_tensor_name(gguf_get_tensor_name(gguf, i), &id, &projection)) {
            return true;
        }
    }
    return false;
}

void remove_file_keys(gguf_context * gguf) {
    std::vector<std::string> keys = {"split.no", "split.count", "split.tensors.count", GGUF_KEY_GENERAL_ALIGNMENT};
    for (int64_t i = 0; i < gguf_get_n_kv(gguf); i++) {
        if (has_prefix(gguf_get_key(gguf, i))) {
            keys.emplace_back(gguf_get_key(gguf, i));
        }
    }
    for (const std::string & key : keys) {
        gguf_remove_key(gguf, key.c_str());
    }
}

void seal_header(std::vector<std::byte> * header) {
    const std::optional<size_t> place = find_header_checksum(*header);
    assert(place.has_value());
    uint32_t before = 0;
    const uint32_t checksum = take_checksum(header, *place, &before);
    std::memcpy(header->data() + *place, &checksum, sizeof(checksum));
}

Status check_packed_header(const File & file, const gguf_context * gguf) {
    const auto damaged = [&](const std::string & how) {
        return Status(StatusCode::kFormat, file.path() + ": packed file with damaged metadata: " + how +
                                               "; get the file again, or pack the model again");
    };
    const int64_t version = gguf_find_key(gguf, kVersionKey);
    if (version < 0 || gguf_get_kv_type(gguf, version) != GGUF_TYPE_UINT32) {
        return damaged(std::string(kVersionKey) + " is missing");
    }
    if (gguf_get_val_u32(gguf, version) != kPackedVersion) {
        return Status(StatusCode::kFormat, file.path() + ": packed file of version " +
                                               std::to_string(gguf_get_val_u32(gguf, version)) +
                                               ", this edgemoe reads version " + std::to_string(kPackedVersion) +
                                               "; use the edgemoe that wrote it, or get the file again");
    }
    const uint64_t size = gguf_get_data_offset(gguf);
    if (size > file.size_bytes()) {
        return damaged("the file ends inside them");
    }
    std::vector<std::byte> header(size);
    const Status status = file.read(0, header.size(), header.data());
    if (!status.is_ok()) {
        return status;
    }
    const std::optional<size_t> place = find_header_checksum(header);
    if (!place.has_value()) {
        return damaged(std::string(kHeaderChecksumKey) + " is missing");
    }
    uint32_t stored = 0;
    return take_checksum(&header, *place, &stored) == stored ? Status::ok() : damaged("their checksum is wrong");
}

}  // namespace edgemoe

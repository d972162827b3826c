#include "engine/hot_list.h"

#include "storage/file.h"
#include "storage/output_file.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <map>
#include <system_error>

namespace edgemoe {
namespace {

constexpr std::array<char, 8> kMagic = {'E', 'M', 'H', 'O', 'T', '0', '0', '1'};
constexpr float kFading = 0.5F;        // what a run takes from the scores of those before
constexpr float kLeastScore = 0.001F;  // less is forgotten
constexpr size_t kEntryBytes = 2 * sizeof(int32_t) + sizeof(float);
constexpr size_t kHeadBytes = kMagic.size() + sizeof(uint64_t) + sizeof(uint32_t);

uint64_t key_of(const ModelIdentity & model) {
    return fnv1a(model.header_checksum, &model.file_bytes, sizeof(model.file_bytes));
}

template <typename Value>
void append(std::vector<char> * bytes, const Value & value) {
    const auto * data = reinterpret_cast<const char *>(&value);
    bytes->insert(bytes->end(), data, data + sizeof(value));
}

template <typename Value>
Value take(const std::vector<char> & bytes, size_t * at) {
    Value value;
    std::memcpy(&value, bytes.data() + *at, sizeof(value));
    *at += sizeof(value);
    return value;
}

// The whole file if its size may be that of a list of `most` entries.
std::vector<char> read_small_file(const std::string & path, size_t most) {
    std::error_code error;
    if (!std::filesystem::is_regular_file(path, error) || error) {
        return {};
    }
    const Result<std::shared_ptr<const File>> file = File::open(path, false);
    if (!file.is_ok()) {
        return {};
    }
    const uint64_t size = file.value()->size_bytes();
    if (size < kHeadBytes + sizeof(uint64_t) || size > kHeadBytes + most * kEntryBytes + sizeof(uint64_t)) {
        return {};
    }
    std::vector<char> bytes(static_cast<size_t>(size));
    return file.value()->read(0, bytes.size(), bytes.data()).is_ok() ? bytes : std::vector<char>();
}

void sort_by_score(std::vector<HotList::Entry> * entries) {
    std::sort(entries->begin(), entries->end(), [](const HotList::Entry & a, const HotList::Entry & b) {
        return a.score != b.score ? a.score > b.score : a.id < b.id;
    });
}

}  // namespace

std::string HotList::path_of(const std::string & folder, const ModelIdentity & model) {
    std::array<char, 17> key{};
    std::snprintf(key.data(), key.size(), "%016llx", static_cast<unsigned long long>(key_of(model)));
    return folder + "/" + key.data() + ".hot";
}

HotList HotList::read(const std::string & path, const ModelIdentity & model, const ExpertIndex & index) {
    const std::vector<char> bytes = read_small_file(path, index.n_experts());
    if (bytes.empty() || std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) != 0) {
        return {};
    }
    size_t at = kMagic.size();
    const auto key = take<uint64_t>(bytes, &at);
    const auto n = take<uint32_t>(bytes, &at);
    const size_t end = bytes.size() - sizeof(uint64_t);
    size_t at_checksum = end;
    if (key != key_of(model) || n != (end - kHeadBytes) / kEntryBytes || (end - kHeadBytes) % kEntryBytes != 0 ||
        take<uint64_t>(bytes, &at_checksum) != fnv1a(kFnvStart, bytes.data(), end)) {
        return {};
    }
    HotList list;
    for (uint32_t i = 0; i < n; ++i) {
        Entry entry;
        entry.id.layer = take<int32_t>(bytes, &at);
        entry.id.expert = take<int32_t>(bytes, &at);
        entry.score = take<float>(bytes, &at);
        if (index.find(entry.id) == nullptr || !std::isfinite(entry.score)) {
            return {};
        }
        list.entries_.push_back(entry);
    }
    sort_by_score(&list.entries_);
    return list;
}

bool HotList::add(const std::vector<ExpertStore::Use> & uses) {
    uint64_t most = 0;
    for (const ExpertStore::Use & use : uses) {
        most = std::max(most, use.n_uses);
    }
    if (most == 0) {
        return false;
    }
    std::map<ExpertId, float> scores;
    for (const Entry & entry : entries_) {
        scores[entry.id] = kFading * entry.score;
    }
    for (const ExpertStore::Use & use : uses) {
        scores[use.id] += static_cast<float>(static_cast<double>(use.n_uses) / static_cast<double>(most));
    }
    entries_.clear();
    for (const auto & [id, score] : scores) {
        if (score >= kLeastScore) {
            entries_.push_back({id, score});
        }
    }
    sort_by_score(&entries_);
    return true;
}

Status HotList::write(const std::string & path, const ModelIdentity & model) const {
    std::vector<char> bytes(kMagic.begin(), kMagic.end());
    append(&bytes, key_of(model));
    append(&bytes, static_cast<uint32_t>(entries_.size()));
    for (const Entry & entry : entries_) {
        append(&bytes, entry.id.layer);
        append(&bytes, entry.id.expert);
        append(&bytes, entry.score);
    }
    append(&bytes, fnv1a(kFnvStart, bytes.data(), bytes.size()));
    std::error_code error;
    std::filesystem::create_directories(std::filesystem::path(path).parent_path(), error);  // a failure is create()'s
    const Result<std::unique_ptr<OutputFile>> file = OutputFile::create(path, bytes.size());
    if (!file.is_ok()) {
        return file.status();
    }
    const Status status = file.value()->write(0, bytes.data(), bytes.size());
    return status.is_ok() ? file.value()->commit() : status;
}

std::vector<ExpertId> HotList::ids() const {
    std::vector<ExpertId> ids;
    for (const Entry & entry : entries_) {
        ids.push_back(entry.id);
    }
    return ids;
}

}  // namespace edgemoe

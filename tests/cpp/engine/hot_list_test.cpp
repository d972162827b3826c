#include "engine/hot_list.h"

#include "reader_testing.h"
#include "temporary_file.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

namespace edgemoe::test {
namespace {

ModelIdentity identity(uint64_t file_bytes = 1000) {
    ModelIdentity model;
    model.file_bytes = file_bytes;
    model.header_checksum = 0xfedcba9876543210;
    return model;
}

// Two layers of three experts.
ExpertIndex small_index(const TemporaryFile & file) {
    std::vector<ExpertLayer> layers(2);
    for (int32_t layer = 0; layer < 2; ++layer) {
        layers[static_cast<size_t>(layer)].layer = layer;
        layers[static_cast<size_t>(layer)].experts.resize(3);
        for (ExpertParts & parts : layers[static_cast<size_t>(layer)].experts) {
            parts[0].present = true;
            parts[0].bytes = 64;
            parts[0].rows = 1;
        }
    }
    return {{open_file(file.path(), false)}, std::move(layers), 2};
}

std::string slurp(const std::string & path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

void spill(const std::string & path, const std::string & bytes) {
    std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

struct Fixture {
    TemporaryDirectory directory;
    TemporaryFile model_file{100};
    ExpertIndex index = small_index(model_file);
    std::string folder = directory.path() + "/made/when/needed";
    std::string path = HotList::path_of(folder, identity());

    ~Fixture() { std::filesystem::remove_all(directory.path() + "/made"); }

    HotList read() const { return HotList::read(path, identity(), index); }
    void write(const std::vector<ExpertStore::Use> & uses) const {
        HotList list;
        REQUIRE(list.add(uses));
        const Status status = list.write(path, identity());
        REQUIRE_MESSAGE(status.is_ok(), status.message());
    }
};

}  // namespace

TEST_CASE("WhatWasUsedMostComesFirst") {
    const Fixture fixture;
    fixture.write({{{0, 0}, 2}, {{0, 1}, 8}, {{1, 2}, 4}, {{1, 1}, 0}});
    CHECK(fixture.read().ids() == std::vector<ExpertId>{{0, 1}, {1, 2}, {0, 0}});
}

TEST_CASE("EarlierRunsCountHalf") {
    const Fixture fixture;
    fixture.write({{{0, 0}, 10}, {{0, 1}, 4}});
    HotList list = fixture.read();
    REQUIRE(list.add({{{1, 0}, 10}, {{0, 1}, 6}}));
    CHECK(list.ids() == std::vector<ExpertId>{{1, 0}, {0, 1}, {0, 0}});  // 1, 0.8, 0.5
    for (int run = 0; run < 20; ++run) {
        REQUIRE(list.add({{{1, 0}, 10}}));
    }
    CHECK(list.ids() == std::vector<ExpertId>{{1, 0}});  // the others are forgotten
}

TEST_CASE("ARunThatUsedNothingChangesNothing") {
    HotList list;
    CHECK_FALSE(list.add({{{0, 0}, 0}}));
    CHECK(list.entries().empty());
}

TEST_CASE("ADamagedFileIsAnEmptyListAndIsReplaced") {
    const Fixture fixture;
    CHECK(fixture.read().entries().empty());  // there is none
    fixture.write({{{0, 0}, 2}, {{1, 1}, 1}});
    const std::string whole = slurp(fixture.path);
    REQUIRE(fixture.read().entries().size() == 2);
    for (size_t i = 0; i < whole.size(); ++i) {
        std::string changed = whole;
        changed[i] = static_cast<char>(changed[i] ^ 1);
        spill(fixture.path, changed);
        CHECK(fixture.read().entries().empty());
        spill(fixture.path, whole.substr(0, i));
        CHECK(fixture.read().entries().empty());
    }
    spill(fixture.path, whole + std::string(100000, 'x'));
    CHECK(fixture.read().entries().empty());
    fixture.write({{{0, 2}, 2}});
    CHECK(fixture.read().ids() == std::vector<ExpertId>{{0, 2}});
}

TEST_CASE("AListIsOfOneModel") {
    const Fixture fixture;
    fixture.write({{{0, 0}, 2}});
    CHECK(HotList::path_of(fixture.folder, identity(1001)) != fixture.path);
    CHECK(HotList::read(fixture.path, identity(1001), fixture.index).entries().empty());
}

TEST_CASE("WhereNothingCanBeWrittenIsAnErrorThatNamesThePlace") {
    HotList list;
    REQUIRE(list.add({{{0, 0}, 1}}));
    const Status status = list.write("/proc/edgemoe/x.hot", identity());
    CHECK_FALSE(status.is_ok());
    CHECK(status.message().find("/proc/edgemoe") != std::string::npos);
}

}  // namespace edgemoe::test

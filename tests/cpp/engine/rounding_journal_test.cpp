#include "engine/rounding_journal.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

namespace edgemoe {
namespace {

// A folder of the test's own, removed at its end.
class Folder {
public:
    Folder() {
        std::string pattern = (std::filesystem::temp_directory_path() / "edgemoe-journal-XXXXXX").string();
        REQUIRE(::mkdtemp(pattern.data()) != nullptr);
        path_ = pattern;
    }
    ~Folder() { std::filesystem::remove_all(path_); }
    Folder(const Folder &) = delete;
    Folder & operator=(const Folder &) = delete;
    std::string journal() const { return (path_ / "journal").string(); }

private:
    std::filesystem::path path_;
};

RoundedKey key(int32_t expert, int32_t type = 12) {
    return {{3, expert}, Projection::kDown, type};
}

RoundedPart part(int32_t seed, size_t bytes = 1000) {
    RoundedPart made;
    made.feedback = seed % 2 == 1;
    made.error = seed;
    made.nearest_error = seed + 0.5;
    for (size_t i = 0; i < bytes; i++) {
        made.bytes.push_back(static_cast<std::byte>((i * 7 + static_cast<size_t>(seed)) & 255));
    }
    return made;
}

void check_part(const RoundingJournal & journal, const RoundedKey & at, const RoundedPart & expected) {
    REQUIRE(journal.contains(at));
    const Result<RoundedPart> read = journal.read(at);
    REQUIRE(read.is_ok());
    CHECK(read.value().bytes == expected.bytes);
    CHECK(read.value().feedback == expected.feedback);
    CHECK(read.value().error == expected.error);
    CHECK(read.value().nearest_error == expected.nearest_error);
}

TEST_CASE("ASecondStartFindsWhatTheFirstWrote") {
    const Folder folder;
    {
        auto journal = RoundingJournal::open(folder.journal(), 42).value();
        CHECK(journal->n_found() == 0);
        CHECK(!journal->contains(key(0)));
        REQUIRE(journal->append(key(0), part(0)).is_ok());
        REQUIRE(journal->append(key(1), part(1, 1003)).is_ok());
        check_part(*journal, key(1), part(1, 1003));
    }
    auto journal = RoundingJournal::open(folder.journal(), 42).value();
    CHECK(journal->n_found() == 2);
    check_part(*journal, key(0), part(0));
    check_part(*journal, key(1), part(1, 1003));
    CHECK(!journal->contains(key(1, 13)));
}

TEST_CASE("AJournalThatEndsAnywhereKeepsItsWholeRecordsAndGoesOn") {
    const Folder folder;
    {
        auto journal = RoundingJournal::open(folder.journal(), 1).value();
        REQUIRE(journal->append(key(0), part(0)).is_ok());
        REQUIRE(journal->append(key(1), part(1)).is_ok());
    }
    const auto whole = std::filesystem::file_size(folder.journal());
    const std::string copy = folder.journal() + ".copy";
    for (uintmax_t cut = 1; cut < whole; cut += 97) {
        std::filesystem::copy_file(folder.journal(), copy, std::filesystem::copy_options::overwrite_existing);
        std::filesystem::resize_file(copy, whole - cut);
        auto journal = RoundingJournal::open(copy, 1).value();
        const size_t n_found = journal->n_found();
        CHECK(n_found < 2);
        if (n_found == 1) {
            check_part(*journal, key(0), part(0));
        }
        REQUIRE(journal->append(key(2), part(2)).is_ok());
        journal.reset();
        journal = RoundingJournal::open(copy, 1).value();
        CHECK(journal->n_found() == n_found + 1);
        check_part(*journal, key(2), part(2));
    }
}

TEST_CASE("AFlippedByteIsNeverReadAsAPart") {
    const Folder folder;
    {
        auto journal = RoundingJournal::open(folder.journal(), 1).value();
        REQUIRE(journal->append(key(0), part(0, 100)).is_ok());
    }
    const auto size = std::filesystem::file_size(folder.journal());
    const std::string copy = folder.journal() + ".copy";
    for (uintmax_t at = 0; at < size; at++) {
        std::filesystem::copy_file(folder.journal(), copy, std::filesystem::copy_options::overwrite_existing);
        {
            std::fstream file(copy, std::ios::in | std::ios::out | std::ios::binary);
            file.seekg(static_cast<std::streamoff>(at));
            const auto byte = static_cast<char>(file.get() ^ 0x10);
            file.seekp(static_cast<std::streamoff>(at));
            file.put(byte);
        }
        CHECK(RoundingJournal::open(copy, 1).value()->n_found() == 0);
    }
}

TEST_CASE("DamageAfterOpeningIsReported") {
    const Folder folder;
    auto journal = RoundingJournal::open(folder.journal(), 1).value();
    REQUIRE(journal->append(key(0), part(0)).is_ok());
    std::filesystem::resize_file(folder.journal(), std::filesystem::file_size(folder.journal()) - 1);
    CHECK(journal->read(key(0)).status().code() == StatusCode::kIo);
}

TEST_CASE("TheJournalOfAnotherIdentityIsEmptied") {
    const Folder folder;
    REQUIRE(RoundingJournal::open(folder.journal(), 1).value()->append(key(0), part(0)).is_ok());
    CHECK(RoundingJournal::open(folder.journal(), 2).value()->n_found() == 0);
    CHECK(RoundingJournal::open(folder.journal(), 1).value()->n_found() == 0);
}

TEST_CASE("ASecondProcessIsRefusedWhileTheFirstPacks") {
    const Folder folder;
    const auto journal = RoundingJournal::open(folder.journal(), 1).value();
    const auto second = RoundingJournal::open(folder.journal(), 1);
    REQUIRE(!second.is_ok());
    CHECK(second.status().code() == StatusCode::kIo);
}

TEST_CASE("ThreadsAppendTogether") {
    const Folder folder;
    {
        auto journal = RoundingJournal::open(folder.journal(), 1).value();
        const auto work = [&](int32_t first) {
            for (int32_t i = 0; i < 50; i++) {
                CHECK(journal->append(key(first + i), part(first + i)).is_ok());
            }
        };
        std::thread other(work, 100);
        work(0);
        other.join();
    }
    const auto journal = RoundingJournal::open(folder.journal(), 1).value();
    CHECK(journal->n_found() == 100);
    check_part(*journal, key(49), part(49));
    check_part(*journal, key(149), part(149));
}

TEST_CASE("ARemovedJournalLeavesNothing") {
    const Folder folder;
    auto journal = RoundingJournal::open(folder.journal(), 1).value();
    REQUIRE(journal->remove().is_ok());
    CHECK(!std::filesystem::exists(folder.journal()));
}

}  // namespace
}  // namespace edgemoe

// Each message goes through the mailbox of its pair in pieces.
#include "messages.h"

#include <algorithm>
#include <cstring>

namespace cann_sim::collectives {

namespace {

class Transfer {
public:
    Transfer(Communicator& communicator, const Message& message)
        : communicator_(communicator),
          message_(message),
          box_(message.direction == Message::Direction::out
                   ? communicator.mailbox(communicator.rank(), message.peer)
                   : communicator.mailbox(message.peer, communicator.rank())) {}

    bool through() const { return through_; }
    uint32_t peer() const { return message_.peer; }
    bool same_lane(const Transfer& other) const { return &box_ == &other.box_; }

    // Does what can be done now; true if that was anything.
    bool advance() { return message_.direction == Message::Direction::out ? write() : read(); }

private:
    char* here() const { return static_cast<char*>(message_.data) + moved_; }

    bool write() {
        if (box_.written.load() != box_.taken.load()) return false;
        if (begun_ && moved_ == message_.bytes) {
            through_ = true;
            return true;
        }
        const size_t piece = std::min(kMailBytes, message_.bytes - moved_);
        box_.total_bytes = message_.bytes;
        box_.data_type = message_.type;
        box_.piece_bytes = static_cast<uint32_t>(piece);
        memcpy(box_.piece, here(), piece);
        moved_ += piece;
        begun_ = true;
        box_.written.fetch_add(1);
        communicator_.ring(message_.peer);
        return true;
    }

    bool read() {
        if (box_.written.load() == box_.taken.load()) return false;
        check();
        memcpy(here(), box_.piece, box_.piece_bytes);
        moved_ += box_.piece_bytes;
        through_ = moved_ == message_.bytes;
        box_.taken.fetch_add(1);
        communicator_.ring(message_.peer);
        return true;
    }

    void check() const {
        if (box_.total_bytes == message_.bytes && box_.data_type == static_cast<uint32_t>(message_.type)) return;
        const auto text = [](size_t bytes, uint32_t type) {
            return std::to_string(bytes) + " bytes of " + name_of(static_cast<HcclDataType>(type));
        };
        communicator_.give_up("rank " + std::to_string(message_.peer) + " sends " +
                              text(box_.total_bytes, box_.data_type) + " where rank " +
                              std::to_string(communicator_.rank()) + " expects " + text(message_.bytes, message_.type));
    }

    Communicator& communicator_;
    const Message message_;
    Mailbox& box_;
    size_t moved_ = 0;
    bool begun_ = false, through_ = false;
};

// A later message of the same pair and direction waits for the one before it.
bool is_next(const std::vector<Transfer>& transfers, size_t index) {
    for (size_t earlier = 0; earlier < index; earlier++) {
        if (!transfers[earlier].through() && transfers[earlier].same_lane(transfers[index])) return false;
    }
    return true;
}

// True when all are through; otherwise nothing can be done until a bell rings.
bool advance_all(std::vector<Transfer>& transfers) {
    for (bool moved = true; moved;) {
        moved = false;
        for (size_t i = 0; i < transfers.size(); i++) {
            if (!transfers[i].through() && is_next(transfers, i)) moved |= transfers[i].advance();
        }
    }
    return std::all_of(transfers.begin(), transfers.end(), [](const Transfer& each) { return each.through(); });
}

}  // namespace

void exchange(Communicator& communicator, const std::vector<Message>& messages) {
    std::vector<Transfer> transfers;
    for (const Message& message : messages) transfers.emplace_back(communicator, message);
    communicator.wait_for([&] { return advance_all(transfers); },
                          [&](uint32_t rank) {
                              return std::any_of(transfers.begin(), transfers.end(), [rank](const Transfer& each) {
                                  return !each.through() && each.peer() == rank;
                              });
                          });
}

}  // namespace cann_sim::collectives

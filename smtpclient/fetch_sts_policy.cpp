#include "smtpclient/fetch_sts_policy.h"

#include "smtpclient/printable.h"

#include <curl/curl.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string_view>
#include <utility>

namespace callforward::smtpclient {

namespace {

constexpr std::size_t largest_policy = std::size_t{64} * 1024;
constexpr long whole_time_ms = 10000;
constexpr long connect_time_ms = 5000;
constexpr long https_port = 443;
constexpr std::size_t most_addresses = 8;  // of each family
constexpr std::chrono::seconds longest_farewell{2};

struct freeing {
    void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
    void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using handle_ptr = std::unique_ptr<CURL, freeing>;
using list_ptr = std::unique_ptr<curl_slist, freeing>;

// The fetches under way. They run on threads that nobody joins; when the process ends they are told
// to, and waited for, because libcurl's and OpenSSL's own ends come next.
class fetches {
public:
    // Made after the libraries began, and so gone before they end.
    static fetches& all() {
        static fetches only;
        return only;
    }
    void begin() {
        const std::lock_guard hold(mutex_);
        ++running_;
    }
    void end() {
        const std::lock_guard hold(mutex_);
        --running_;
        changed_.notify_all();
    }
    [[nodiscard]] bool must_stop() const { return stop_; }

private:
    fetches() = default;
    ~fetches() {
        stop_ = true;
        std::unique_lock hold(mutex_);
        changed_.wait_for(hold, longest_farewell, [this] { return running_ == 0; });
    }
    std::mutex mutex_;
    std::condition_variable changed_;
    std::size_t running_ = 0;
    std::atomic<bool> stop_{false};
};

struct one_fetch {
    one_fetch() { fetches::all().begin(); }
    one_fetch(const one_fetch&) = delete;
    one_fetch& operator=(const one_fetch&) = delete;
    ~one_fetch() { fetches::all().end(); }
};

// Called about once a second at least; not 0 ends the transfer.
int look_around(void*, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
    return fetches::all().must_stop() ? 1 : 0;
}

// Anything but what was given ends the transfer.
std::size_t take(char* bytes, std::size_t size, std::size_t count, void* into) {
    auto& text = *static_cast<std::string*>(into);
    if (text.size() + size * count > largest_policy) return 0;
    text.append(bytes, size * count);
    return size * count;
}

// RFC 8461 section 3.2: the media type is text/plain; parameters may follow.
bool is_plain_text(const char* type) {
    const std::string_view text = type != nullptr ? type : "";
    return equal_ignoring_case(text.substr(0, text.find_first_of("; \t")), "text/plain");
}

void set_up(CURL* to, const sts_web_host& host, const std::string& name, std::string& body) {
    const std::string url = "https://" + name +
                            (host.port == https_port ? "" : ':' + std::to_string(host.port)) +
                            "/.well-known/mta-sts.txt";
    curl_easy_setopt(to, CURLOPT_URL, url.c_str());
    curl_easy_setopt(to, CURLOPT_PORT, static_cast<long>(host.port));
    curl_easy_setopt(to, CURLOPT_PROTOCOLS_STR, "https");
    curl_easy_setopt(to, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(to, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(to, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(to, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(to, CURLOPT_SSL_VERIFYHOST, 2L);
    curl_easy_setopt(to, CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
    curl_easy_setopt(to, CURLOPT_TIMEOUT_MS, whole_time_ms);
    curl_easy_setopt(to, CURLOPT_CONNECTTIMEOUT_MS, connect_time_ms);
    curl_easy_setopt(to, CURLOPT_WRITEFUNCTION, &take);
    curl_easy_setopt(to, CURLOPT_WRITEDATA, &body);
    curl_easy_setopt(to, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(to, CURLOPT_XFERINFOFUNCTION, &look_around);
    curl_easy_setopt(to, CURLOPT_USERAGENT, "callforward");
    if (!host.ca_file.empty()) {
        curl_easy_setopt(to, CURLOPT_CAINFO, host.ca_file.c_str());
        curl_easy_setopt(to, CURLOPT_CAPATH, nullptr);
    }
}

// As CURLOPT_RESOLVE takes them.
std::string list_of(const std::vector<dns::ip_address>& addresses) {
    std::string list;
    std::size_t v4 = 0;
    std::size_t v6 = 0;
    for (const auto& address : addresses) {
        if (++(address.is_v4() ? v4 : v6) > most_addresses) continue;
        if (!list.empty()) list += ',';
        list += address.is_v4() ? address.text() : '[' + address.text() + ']';
    }
    return list;
}

}  // namespace

sts_document fetch_sts_policy_from(const sts_web_host& host, const std::string& domain) {
    // Not thread-safe in older versions; made once, whoever comes first.
    static const CURLcode library = curl_global_init(CURL_GLOBAL_DEFAULT);
    const handle_ptr handle(library == CURLE_OK ? curl_easy_init() : nullptr);
    if (!handle) return {{}, "libcurl cannot start"};
    const one_fetch under_way;
    const std::string name = "mta-sts." + domain;
    const std::string place =
        name + ':' + std::to_string(host.port) + ':' + list_of(host.addresses);
    const list_ptr places(curl_slist_append(nullptr, place.c_str()));
    if (!places) return {{}, "no memory"};
    std::string body;
    set_up(handle.get(), host, name, body);
    curl_easy_setopt(handle.get(), CURLOPT_RESOLVE, places.get());
    const CURLcode done = curl_easy_perform(handle.get());
    if (done == CURLE_WRITE_ERROR) return {{}, "the policy is larger than 64 KiB"};
    if (done != CURLE_OK) return {{}, printable(curl_easy_strerror(done), 200)};
    long status = 0;
    const char* type = nullptr;
    curl_easy_getinfo(handle.get(), CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(handle.get(), CURLINFO_CONTENT_TYPE, &type);
    if (status != 200) return {{}, "the web host answered " + std::to_string(status)};
    if (!is_plain_text(type)) return {{}, "the policy is not of type text/plain"};
    return {std::move(body), {}};
}

sts_document fetch_sts_policy(const std::string& domain,
                              const std::vector<dns::ip_address>& addresses) {
    sts_web_host host;
    host.addresses = addresses;
    return fetch_sts_policy_from(host, domain);
}

}  // namespace callforward::smtpclient

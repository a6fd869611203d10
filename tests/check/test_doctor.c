/* SPDX-License-Identifier: Apache-2.0
 * test_doctor.c - requirements against made-up machines; the report of this one. */
#include "test.h"

#include <stdlib.h>

#include "check/check.h"

static const fy_facts machine = {.torch = "2.7.0+cu126", .torch_cuda = "12.6", .cuda = "11.8.0", .cudnn = "9.5.1", .driver = "12.8", .ort = "1.19.2", .openvino = "2026.4.1",
    .memory = 16e9, .shm = 64.0 * 1024 * 1024, .cores = 8, .gpus = 2};

static void test_requirements(void **state) {
    static const struct { const char *text; int met; } table[] = {           /* -1: not a requirement */
        {"torch", 1}, {"torch==2.7.0", 1}, {"torch==2.7", 1}, {"torch=2.7.0", 1}, {"torch==2.7.1", 0}, {"torch>=2.7", 1}, {"torch>=2.10", 0}, {"torch<2.10", 1}, {"torch<=2.7.0", 1},
        {"torch>2.7.0", 0}, {"torch>2.6.9", 1}, {"torch!=2.7.0", 0}, {"torch!=2.6", 1}, {"torch==2.7.0+cu126", 1}, {"torch==2.7.0+cu118", 0}, {"torch!=2.7.0+cu118", 1}, {"torch == 2.7.0", 1},
        {" torch >= 2", 1}, {"cuda>=11.8", 1}, {"cuda==12.6", 1}, {"cuda>=13", 0}, {"cudnn>=9", 1}, {"cudnn>=9.10", 0}, {"nccl", 0}, {"nccl>=2", 0}, {"nccl!=2", 0}, {"driver>=12.6", 1},
        {"onnxruntime>=1.17", 1}, {"onnxruntime<1.2", 0}, {"openvino>=2023.1", 1}, {"shm>=64m", 1}, {"shm>=65m", 0}, {"shm>=8g", 0}, {"shm>=8gb", 0}, {"shm>=65536k", 1}, {"shm==67108864", 1}, {"shm<1G", 1},
        {"shm>=0.0625g", 1}, {"memory>=8g", 1}, {"memory>=1t", 0}, {"memory", 1}, {"cores", 1}, {"cores>=8", 1}, {"cores>8", 0}, {"cores!=4", 1}, {"gpus", 1}, {"gpus>=2", 1}, {"gpus==1", 0}, {"gpus<=2", 1},
        {"torch==", -1}, {"torch>=", -1}, {"torch=>2.7", -1}, {"torch!2", -1}, {"torch==x", -1}, {"torch==2.7 .0 rc$", -1}, {"tensorflow", -1}, {"", -1}, {">=2", -1}, {"shm>=x", -1}, {"shm>=8x", -1},
        {"shm>=-1", -1}, {"shm>=8gg", -1}, {"cores>=", -1}, {"cores>=two", -1}, {"torchaudio>=2", -1}, {"cores>=4 8", 0}};
    (void)state;
    for (int i = 0; i < FY_COUNT(table); i++) {
        ferry_error e;
        char found[64] = "";
        bool met = false;
        fy_status s = fy_requirement(&machine, table[i].text, strlen(table[i].text), &met, found, &e);
        int got = s == FY_E_USAGE ? -1 : s ? -2 : met;
        if (got != table[i].met) fail_msg("'%s' gives %d (%s)", table[i].text, got, s ? e.text : found);
        if (!s) assert_true(found[0]);
    }
}

static void test_nothing_there(void **state) {
    static const char *const text[] = {"torch", "torch>=1", "torch!=1", "cuda", "gpus", "gpus>=1", "cores>=1", "shm>=1"};
    const fy_facts none = {0};
    (void)state;
    for (int i = 0; i < FY_COUNT(text); i++) {
        ferry_error e;
        char found[64];
        bool met = true;
        assert_ok(fy_requirement(&none, text[i], strlen(text[i]), &met, found, &e), e);
        if (met) fail_msg("%s is met by nothing", text[i]);
    }
}

/* This machine: whatever it is, the report is complete and the gate follows the facts. */
static void test_report(void **state) {
    static const struct { const char *require; int verdict; } table[] = {{NULL, FERRY_OK}, {"", FERRY_OK}, {"cores>=1", FERRY_OK}, {"cores>=1,memory>=1k", FERRY_OK}, {"cores>=100000", FERRY_NO},
        {"cores>=1,,torch>=999", FERRY_NO}, {"cores>=100000,cores>=1", FERRY_NO}};
    ferry_error e;
    (void)state;
    for (int i = 0; i < FY_COUNT(table); i++) {
        fy_report *r = fy_report_new(&e);
        assert_ok(fy_doctor_report(r, table[i].require, &e), e);
        assert_ok(fy_report_finish(r, &e), e);
        assert_int_equal(r->verdict, table[i].verdict);
        assert_non_null(strstr(r->plain.at, "CPU"));
        assert_non_null(strstr(r->plain.at, "memory"));
        assert_non_null(strstr(r->json.at, "\"findings\""));
        assert_null(strchr(r->plain.at, '\033'));
        fy_report_free(r);
    }
    fy_report *r = fy_report_new(&e);
    assert_fails(fy_doctor_report(r, "cores>=1,touch>=2", &e), USAGE);
    assert_non_null(strstr(e.text, "touch"));
    fy_report_free(r);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_requirements), cmocka_unit_test(test_nothing_there), cmocka_unit_test(test_report)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

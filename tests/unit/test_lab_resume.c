/* train/ through io/: a run that is saved, ended and loaded by another process
 * equals one that was never stopped. Stands with the lab's tests because only
 * from there up both layers are linked.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/test_main.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "common/temp_folder.h"
#include "io/checkpoint.h"
#include "train/trainer.h"

#define NET "model net loss=ce\n" \
            "x input 3x32x32\n" \
            "conv1 conv2d out=4 kernel=3 stride=4 pad=1\n" \
            "bn1 batch_norm\n" \
            "relu1 relu\n" \
            "pool1 global_avg_pool\n" \
            "drop1 dropout p=0.1\n" \
            "flat1 flatten\n" \
            "fc1 dense out=10\n"

/* One session: everything is made from nothing. */
struct session {
    struct graph *graph;
    struct dataset *data;
    struct trainer *trainer;
};

static bool session_open(struct session *s, struct err *e)
{
    const char *name = "shapes";
    struct dataset_opts o;
    struct train_settings set;
    struct rng *r = rng_new(4, RNG_INIT);
    dataset_opts_default(&o);
    o.n_train = 40;
    o.n_test = 10;
    train_settings_default(&set);
    set.batch = 8;
    set.augment.flip = true;
    set.schedule = schedule_find("cosine");
    *s = (struct session){ NULL, NULL, NULL };
    bool ok = graph_parse(NET, &s->graph, e) == STATUS_OK &&
              graph_finish(s->graph, r, e) == STATUS_OK &&
              dataset_load(1, &name, &o, &s->data, e) == STATUS_OK &&
              trainer_new(s->graph, s->data, &set, &s->trainer, e) ==
                  STATUS_OK;
    rng_free(r);
    return ok;
}

static void session_close(struct session *s)
{
    trainer_free(s->trainer);
    graph_drop_quantizers(s->graph);
    graph_free(s->graph);
    dataset_free(s->data);
}

static bool session_train(struct session *s, int steps, struct err *e)
{
    struct batch_result r;
    for (int i = 0; i < steps; i++)
        if (trainer_step(s->trainer, NULL, &r, e) != STATUS_OK)
            return false;
    return true;
}

static bool session_quantize(struct session *s, struct err *e)
{
    struct assign_opts o = {
        .config = qconfig_find("fbgemm"), .weight_bits = 4,
        .activation_bits = 4, .input = true,
    };
    trainer_goal(s->trainer, 3);
    return assign_qconfig(s->graph, &o, e) == STATUS_OK;
}

static bool session_save(const struct session *s, const char *path,
                         struct err *e)
{
    struct bag *b = bag_new();
    bool ok = b && graph_save(s->graph, b, e) == STATUS_OK &&
              graph_save_quant(s->graph, b, e) == STATUS_OK &&
              trainer_save(s->trainer, b, e) == STATUS_OK &&
              checkpoint_write(path, b, e) == STATUS_OK;
    bag_free(b);
    return ok;
}

static bool session_load(struct session *s, const char *path, struct err *e)
{
    struct bag *b = NULL;
    bool ok = checkpoint_read(path, &b, e) == STATUS_OK &&
              graph_load(s->graph, b, e) == STATUS_OK &&
              graph_load_quant(s->graph, b, e) == STATUS_OK &&
              trainer_load(s->trainer, b, e) == STATUS_OK;
    bag_free(b);
    return ok;
}

/* The other process: loads, goes on, saves. */
static void go_on(const char *from, const char *to)
{
    struct session s;
    struct err e;
    bool ok = session_open(&s, &e) && session_load(&s, from, &e) &&
              session_train(&s, 7, &e) && session_save(&s, to, &e);
    if (!ok)
        fprintf(stderr, "%s\n", e.text);
    session_close(&s);
    exit(ok ? 0 : 1);
}

static void assert_same_files(const char *a, const char *b)
{
    struct bag *x = NULL, *y = NULL;
    struct err e;
    assert_int_equal(checkpoint_read(a, &x, &e), STATUS_OK);
    assert_int_equal(checkpoint_read(b, &y, &e), STATUS_OK);
    assert_int_equal(bag_count(x), bag_count(y));
    for (size_t i = 0; i < bag_count(x); i++) {
        const struct tensor *t = bag_at(x, i);
        const struct tensor *u = bag_get(y, bag_name(x, i));
        if (!u || tensor_bytes(t) != tensor_bytes(u) ||
            memcmp(t->data, u->data, tensor_bytes(t)) != 0)
            fail_msg("%s differs", bag_name(x, i));
    }
    for (size_t i = 0; i < bag_text_count(x); i++)
        assert_string_equal(bag_text_at(x, i),
                            bag_text(y, bag_text_name(x, i)));
    bag_free(x);
    bag_free(y);
}

static void a_run_goes_on_in_another_process_bit_for_bit(void **state)
{
    static const char *const name[] = { "a.qlab", "b.qlab", "c.qlab" };
    char path[3][192];
    struct session s;
    struct err e;
    for (int i = 0; i < 3; i++)
        strcpy(path[i], temp_path(*state, name[i]));
    /* The child is made before this process starts any thread. */
    int gate[2];
    assert_int_equal(pipe(gate), 0);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        char go;
        close(gate[1]);
        if (read(gate[0], &go, 1) != 1)
            exit(2);
        go_on(path[0], path[1]);
    }
    close(gate[0]);
    bool ok = session_open(&s, &e) && session_train(&s, 3, &e) &&
              session_quantize(&s, &e) && session_train(&s, 6, &e) &&
              session_save(&s, path[0], &e);
    assert_int_equal(write(gate[1], "g", 1), 1);
    close(gate[1]);
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    ok = ok && session_train(&s, 7, &e) && session_save(&s, path[2], &e);
    if (!ok)
        fail_msg("%s", e.text);
    assert_same_files(path[1], path[2]);
    session_close(&s);
}

/* Whatever a damaged file holds, each part says no or takes it, and a step
 * after that ends. */
static void try_damaged(struct session *s, const struct bytes *f)
{
    struct bag *b = NULL;
    struct graph *g = NULL;
    struct batch_result r;
    struct err e;
    if (checkpoint_parse(f->data, f->size, "damaged", &b, &e) != STATUS_OK) {
        assert_true(e.text[0] != '\0');
        return;
    }
    const char *text = bag_text(b, "graph");
    if (text && graph_parse(text, &g, &e) == STATUS_OK)
        graph_free(g);
    if (graph_load(s->graph, b, &e) == STATUS_OK &&
        graph_load_quant(s->graph, b, &e) == STATUS_OK &&
        trainer_load(s->trainer, b, &e) == STATUS_OK)
        (void)trainer_step(s->trainer, NULL, &r, &e);
    bag_free(b);
}

static void damaged_states_never_crash(void **state)
{
    const char *path = temp_path(*state, "a.qlab");
    struct session s;
    struct bytes f;
    struct err e;
    if (!session_open(&s, &e) || !session_quantize(&s, &e) ||
        !session_train(&s, 2, &e) || !session_save(&s, path, &e) ||
        file_read(path, 1 << 24, &f, &e) != STATUS_OK)
        fail_msg("%s", e.text);
    size_t header = 8 + (f.data[0] | (size_t)f.data[1] << 8);
    for (size_t i = 0; i < f.size; i += i < header ? 3 : 101) {
        static const unsigned char change[] = { 0x01, 0x02, 0x04, 0xff };
        f.data[i] ^= change[i % 4];
        try_damaged(&s, &f);
        f.data[i] ^= change[i % 4];
    }
    size_t whole = f.size;
    for (f.size = 0; f.size < whole; f.size += 257)
        try_damaged(&s, &f);
    bytes_fini(&f);
    session_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            a_run_goes_on_in_another_process_bit_for_bit, temp_folder_make,
            temp_folder_drop),
        cmocka_unit_test_setup_teardown(damaged_states_never_crash,
                                        temp_folder_make, temp_folder_drop),
    };
    gsl_set_error_handler_off();
    return cmocka_run_group_tests_name("lab resume", tests, NULL, NULL);
}

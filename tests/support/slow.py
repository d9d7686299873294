"""Tests that take more than about a second on a quiet core: `pytest -m "not slow"` leaves them out.

Measured with `--durations=0`, never inside a test. A name stands for all of its parameters.
"""

from __future__ import annotations

SLOW: frozenset[str] = frozenset(
    {
        "cli/test_checks.py::test_verify_and_doctor_with_the_real_interpreters",
        "cli/test_json_documents.py::test_documents_follow_their_schemas",
        "cli/test_json_documents.py::test_documents_of_real_interpreters_follow_their_schemas",
        "cli/test_optimized.py::test_verbs_print_the_same",
        "cli/test_streams.py::test_a_closed_pipe_is_silent",
        "cli/test_streams.py::test_colours_only_on_a_terminal_and_not_under_no_color",
        "engines/jit/test_cache.py::test_a_disk_without_room_and_a_folder_that_is_none_cost_one_warning",
        "engines/jit/test_cache.py::test_damaged_entries_cost_one_warning",
        "lab/test_check_engine.py::test_the_kernels_of_this_cpu_hold",
        "live/test_evidence.py::test_every_runtime_equals_its_interpreter_and_every_rival_is_refuted",
        "model/tflite/test_mutants.py::test_only_errors_of_lastbit_come_out",
        "project/test_tutorial.py::test_the_tutorial",
        "report/test_first_screens.py::test_the_demo_is_sixty_lines",
        "report/test_html.py::test_every_verb_makes_a_page",
        "report/test_repr.py::test_the_repr_of_what_asks_real_interpreters",
        "test_pytest_plugin.py::test_a_suite_with_vectors_model_and_runtime",
        "verbs/bench/test_bench.py::test_command_line",
        "verbs/bench/test_bench.py::test_the_benchmark_of_pytest_runs_and_agrees",
        "verbs/compare/test_compare.py::test_an_int16_layer_in_little_memory",
        "verbs/compare/test_operators.py::test_means_that_differ_rarely_are_found_to_differ",
        "verbs/compare/test_operators.py::test_operators_that_were_not_compared_are_never_the_same",
        "verbs/demo/test_demo.py::test_demo_without_h5py_says_what_to_install",
        "verbs/demo/test_demo.py::test_step_4_the_questions_code_has_its_three_mistakes",
        "verbs/demo/test_demo.py::test_the_readmes_first_example_runs",
        "verbs/dense/test_dense.py::test_every_multiplier_is_one_number_to_vector_exact_tables_and_engines",
        "verbs/dense/test_dense.py::test_real_interpreters_run_the_layer_and_print_the_same",
        "verbs/diagnose/test_diagnose.py::test_a_mistake_is_found_through_an_unusual_form",
        "verbs/diagnose/test_diagnose.py::test_every_single_mistake_is_named_or_one_that_prints_the_same",
        "verbs/diagnose/test_diagnose.py::test_mistakes_in_quantizing_the_input_are_named",
        "verbs/diagnose/test_diagnose.py::test_sets_of_mistakes_are_named",
        "verbs/diagnose/test_diagnose.py::test_the_forums_array_is_named_with_exactly_its_three_mistakes",
        "verbs/diagnose/test_diagnose.py::test_the_forums_function_is_named_with_exactly_its_three_mistakes",
        "verbs/diagnose/test_gallery.py::test_a_thread_is_answered",
        "verbs/evaluate/test_checkpoint.py::test_any_number_that_was_changed_is_noticed",
        "verbs/export/test_programs.py::test_a_dense_layer_prints_what_every_real_interpreter_prints",
        "verbs/export/test_programs.py::test_a_whole_model_prints_what_the_real_interpreter_prints",
        "verbs/export/test_programs.py::test_the_self_test_of_a_wrong_copy_fails",
        "verbs/export/test_rules_in_c.py::test_every_rule_gives_what_the_definition_gives",
        "verbs/prove/test_convolutions.py::test_where_two_runtimes_differ_both_interpreters_confirm_it",
        "verbs/prove/test_prove.py::test_the_autoencoder_is_proved_for_every_reachable_accumulator",
        "verbs/quantize/test_quantize.py::test_every_scale_weight_and_bias_is_the_converters",
        "verbs/runtimes/test_operators.py::test_verify_names_the_first_operator_that_differs",
        "verbs/thresholds/test_thresholds.py::test_recorded_interpreters_print_what_the_tables_say",
        "verbs/thresholds/test_thresholds.py::test_tables_equal_the_rule_at_every_interesting_point",
        "verbs/thresholds/test_thresholds.py::test_wide_accumulators_and_wide_outputs",
        "verbs/vectors/test_hybrid.py::test_real_interpreters_confirm_the_outputs",
        "verbs/vectors/test_vectors.py::test_pairs_shown_are_some_of_the_pairs_there_are",
        "verbs/vectors/test_vectors.py::test_real_interpreters_confirm_the_outputs",
    }
)
